"""Join nodes of a graph into larger ones for which ONNX Runtime has fast kernels on the CPU, before it is loaded.

Results change by rounding only; in int8, a number that is rounded the other way differs by a whole step. ONNX Runtime
joins many nodes by itself, but not these:

- an int8 product (MatMulInteger, Cast, Mul, and Add for the bias), as MatMulIntegerToFloat: ONNX Runtime looks for the
  product of two scales, but has replaced it by a constant already;
- scaled dot-product attention, in the form that PyTorch's exporter gives it, as Attention
  (https://onnx.ai/onnx/operators/onnx__Attention.html).
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from onnx import ModelProto, NodeProto, OperatorSetIdProto, TensorProto, helper

from pipelines.engines.onnx_nodes import Nodes, NoMatch, attribute

MICROSOFT = "com.microsoft"
ATTENTION_OPSET = 23
OLDEST_OPSET = 20  # from here to 23 the operators of exported graphs got further types, and kept their meaning
HEADS_FIRST = [0, 2, 1, 3]  # (items, tokens, heads, head) to (items, heads, tokens, head), and back


@dataclass(frozen=True, slots=True)
class Fused:
    """The numbers of int8 products and of attentions that are one node each."""

    products: int
    attentions: int


def fuse(model: ModelProto) -> Fused:
    """Join the nodes of the graph in place. Nodes in other forms than these stay as they are."""
    nodes = Nodes(model.graph)
    products = _each(nodes, "Mul", _product)
    _each(nodes, "Add", _bias)
    standard = _opset(model, "")
    attentions = _each(nodes, "MatMul", _attention) if standard.version >= OLDEST_OPSET else 0
    nodes.remove_unused()
    if products:
        _opset(model, MICROSOFT).version = 1
    if attentions:
        del model.graph.value_info[:]  # shapes that quantization left there; those of attention are other ones now
        standard.version = max(standard.version, ATTENTION_OPSET)
    return Fused(products, attentions)


def _opset(model: ModelProto, domain: str) -> OperatorSetIdProto:
    """The model's entry for the operators of a domain, which is added if there is none."""
    if domain not in {opset.domain for opset in model.opset_import}:
        model.opset_import.append(helper.make_opsetid(domain, 1))
    found: OperatorSetIdProto = next(opset for opset in model.opset_import if opset.domain == domain)
    return found


def _each(nodes: Nodes, operator: str, join: Callable[[Nodes, NodeProto], None]) -> int:
    """Call `join` with all nodes of an operator, and count those that match."""
    count = 0
    for node in nodes.of(operator):
        with suppress(NoMatch):
            join(nodes, node)
            count += 1
    return count


def _product(nodes: Nodes, mul: NodeProto) -> None:
    """From float(a x b) * (scale of a * scale of b), where a and b are integers."""
    cast = nodes.maker(mul.input[0], "Cast")
    product = nodes.maker(cast.input[0], "MatMulInteger")
    scales = nodes.maker(mul.input[1], "Mul")
    if attribute(cast, "to", None) != TensorProto.FLOAT:
        raise NoMatch
    inputs = [*product.input[:2], *scales.input, *product.input[2:]]
    with suppress(NoMatch, IndexError):
        if not nodes.constant(inputs[5]).any():  # the zero point of weights, which is 0
            del inputs[5]
    nodes.replace(mul, "MatMulIntegerToFloat", inputs, MICROSOFT)


def _bias(nodes: Nodes, add: NodeProto) -> None:
    """From product + bias, where the bias has one number for each column of the weights."""
    product, bias = _operands(nodes, add, "MatMulIntegerToFloat")
    inputs = list(product.input)
    if len(inputs) > 6 or nodes.vector_length(bias) != nodes.vector_length(inputs[3]):
        raise NoMatch
    nodes.replace(add, "MatMulIntegerToFloat", [*inputs, *[""] * (6 - len(inputs)), bias], MICROSOFT)


def _operands(nodes: Nodes, node: NodeProto, operator: str) -> tuple[NodeProto, str]:
    """The operand of a sum that a node of the operator computes, and the name of the other one."""
    first, second = node.input
    if nodes.made_by(first, operator):
        return nodes.maker(first, operator), second
    return nodes.maker(second, operator), first


def _attention(nodes: Nodes, product: NodeProto) -> None:
    """From softmax(query x key^T * scale + mask) x value, each (items, heads, tokens, head).

    Where they are views of rows (items, tokens, heads * head), and the result becomes such rows, Attention takes and
    gives these, so that nothing is transposed.
    """
    softmax = _softmax(nodes, product.input[0])
    masked = nodes.made_by(softmax.input[0], "Add")
    if masked:
        scores, mask = _operands(nodes, nodes.maker(softmax.input[0], "Add"), "MatMul")
    else:
        scores, mask = nodes.maker(softmax.input[0], "MatMul"), ""
    query, query_scale = _scaled(nodes, scores.input[0])
    transposed, key_scale = _scaled(nodes, scores.input[1])
    heads = [query, _untransposed(nodes, transposed), product.input[1]]
    extra, scale = [mask] if masked else [], query_scale * key_scale
    with suppress(NoMatch):
        joined, rows, count = _rows(nodes, product, heads)
        nodes.replace(joined, "Attention", rows + extra, q_num_heads=count, kv_num_heads=count, scale=scale)
        return
    nodes.replace(product, "Attention", heads + extra, scale=scale)


def _rows(nodes: Nodes, product: NodeProto, heads: list[str]) -> tuple[NodeProto, list[str], int]:
    """The node that joins the heads of the result, the rows of query, key and value, and the number of heads."""
    transpose = nodes.only_user(product.output[0], "Transpose")
    if attribute(transpose, "perm", []) != HEADS_FIRST:
        raise NoMatch
    joined = nodes.only_user(transpose.output[0], "Reshape")
    if _rank(nodes, joined.input[1]) != len(("items", "tokens", "width")):
        raise NoMatch
    parts = [_joined_heads(nodes, name) for name in heads]
    if len({count for _, count in parts}) != 1:
        raise NoMatch
    return joined, [name for name, _ in parts], parts[0][1]


def _softmax(nodes: Nodes, name: str) -> NodeProto:
    """The softmax over keys that gives `name`. If all keys are masked, it gives 0, as Attention does."""
    if nodes.made_by(name, "Where"):
        where = nodes.maker(name, "Where")
        if nodes.constant(where.input[1]).any() or nodes.maker(where.input[0], "IsNaN").input[0] != where.input[2]:
            raise NoMatch
        name = where.input[2]
    softmax = nodes.maker(name, "Softmax")
    if attribute(softmax, "axis", -1) not in {-1, 3}:
        raise NoMatch
    return softmax


def _scaled(nodes: Nodes, name: str) -> tuple[str, float]:
    """The tensor of which `name` is a multiple, and the factor."""
    if not nodes.made_by(name, "Mul"):
        return name, 1.0
    source, factor = nodes.maker(name, "Mul").input
    return source, nodes.number(factor)


def _untransposed(nodes: Nodes, name: str) -> str:
    """The key (items, heads, tokens, head) of its transpose, which the exporter makes with items and heads joined."""
    if nodes.made_by(name, "Transpose"):
        transpose = nodes.maker(name, "Transpose")
        source: str = transpose.input[0]
        expected = [0, 1, 3, 2]
    else:
        transpose = nodes.maker(nodes.maker(name, "Reshape").input[0], "Transpose")
        expected = [0, 2, 1]
        source = nodes.maker(transpose.input[0], "Reshape").input[0]
    if attribute(transpose, "perm", []) != expected:
        raise NoMatch
    return source


def _joined_heads(nodes: Nodes, name: str) -> tuple[str, int]:
    """The tensor (items, tokens, heads * head) that `name` is a view of, with heads first, and the number of heads."""
    transpose = nodes.maker(name, "Transpose")
    if attribute(transpose, "perm", []) != HEADS_FIRST:
        raise NoMatch
    view = nodes.maker(transpose.input[0], "Reshape")
    heads, head = _last_sizes(nodes, view.input[1])
    width = _width(nodes, view.input[0])
    count = heads if heads > 0 else width // head
    if count < 1 or width % count or head not in {-1, width // count}:
        raise NoMatch
    return view.input[0], count


def _last_sizes(nodes: Nodes, shape: str) -> list[int]:
    """The last two dimensions of a shape; -1 stands for what is left."""
    if nodes.made_by(shape, "Concat"):
        return [int(nodes.number(name)) for name in nodes.maker(shape, "Concat").input[-2:]]
    return [int(size) for size in nodes.constant(shape)[-2:]]


def _rank(nodes: Nodes, shape: str) -> int:
    """The number of dimensions of a shape."""
    return len(nodes.maker(shape, "Concat").input) if nodes.made_by(shape, "Concat") else nodes.constant(shape).size


def _width(nodes: Nodes, name: str) -> int:
    """The last dimension of a product with bias."""
    if nodes.made_by(name, "MatMulIntegerToFloat"):
        inputs = nodes.maker(name, "MatMulIntegerToFloat").input
        return nodes.vector_length(inputs[6] if len(inputs) > 6 else inputs[3])
    return nodes.vector_length(_operands(nodes, nodes.maker(name, "Add"), "MatMul")[1])
