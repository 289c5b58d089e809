"""Let the layers of a graph run without padding, on the tokens of all items in one array (tokens, width).

Products, normalizations and all that works on each token by itself cost nothing for padding then. Only attention and
the products that give its query, key and value see padded rows: what these products share is gathered into (items,
longest, width), and the tokens of attention's result before the next product. In an int8 graph both are int8, so that a
batch without padding takes hardly longer. Results change by rounding at most.

PyTorch's engines do the same, with attention packed as well, in `pipelines.engines.packed`.

Packing begins at the first normalization, which takes the embeddings, and ends where a node mixes tokens in another
way, such as pooling. A graph is packed only if that includes all its attentions.
"""

from collections.abc import Iterable, Iterator, Sequence

from onnx import ModelProto, NodeProto, TensorProto, helper

from pipelines.engines.onnx_nodes import Nodes, NoMatch, attribute, uses_of

PLACES = "munjang.places"
"""Input (tokens,) int64: the index of each token in the flattened (items, longest)."""
ROWS = "munjang.rows"
"""Input (items, longest) int64: the index of each place's token in the packed array; of padding, that of any token."""

ELEMENTWISE = {"Add", "Sub", "Mul", "Div", "Gelu", "Erf", "Tanh", "Relu", "Sigmoid", "Cast", "Identity"}
PRODUCTS = {"MatMul", "MatMulInteger", "MatMulIntegerToFloat"}
WITH_CONSTANTS = PRODUCTS | {"QuantizeLinear", "Clip"}
NORMALIZATIONS = {"LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization"}


def pack(model: ModelProto) -> bool:
    """Pack the graph in place, which then has the inputs `PLACES` and `ROWS`, too. Returns whether it could be packed.

    The attentions must be those that `pipelines.engines.onnx_fusion` makes of rows (items, tokens, heads * head).
    """
    packing = _Packing(Nodes(model.graph))
    attentions = [node for node in model.graph.node if node.op_type == "Attention"]
    if not attentions or not all(attribute(node, "q_num_heads", 0) for node in attentions):
        return False
    try:
        packing.begin(attentions)
        for node in model.graph.node:
            packing.add(node)
    except NoMatch:
        return False
    if packing.attentions < len(attentions) or packing.renames(output.name for output in model.graph.output):
        return False
    del model.graph.node[:]
    model.graph.node.extend(packing.nodes)
    for name, sizes in ((PLACES, ["tokens"]), (ROWS, ["items", "longest"])):
        model.graph.input.append(helper.make_tensor_value_info(name, TensorProto.INT64, sizes))
    return True


class _Packing:
    """The nodes of the packed graph, which are added in the order of the padded one.

    nodes       the nodes so far
    attentions  how many of them are attentions whose inputs are computed from packed tensors
    """

    def __init__(self, graph: Nodes) -> None:
        self.nodes: list[NodeProto] = []
        self.attentions = 0
        self._graph = graph
        self._entry = ""
        self._before: set[str] = set()  # query, key and value of all attentions, and their products without bias
        self._from_packed: set[str] = set()  # those of them that are computed from packed tensors
        self._after: set[str] = set()  # results of attentions, and what is computed from them before the next product
        self._packed: dict[str, str] = {}  # the packed form of a tensor of the padded graph
        self._padded: dict[str, str] = {}  # the padded form of tensors that have both

    def begin(self, attentions: Sequence[NodeProto]) -> None:
        """Begin with the normalization that the first attention's query is computed from. Raises NoMatch."""
        for attention in attentions:
            for name in attention.input[:3]:
                self._before.update(self._product_and_bias(name))
        query = attentions[0].input[0]
        while not any(self._graph.made_by(query, operator) for operator in NORMALIZATIONS):
            query = self._source(query)
        self._entry = query

    def _product_and_bias(self, name: str) -> Iterator[str]:
        """A product with its bias, and without it. Raises NoMatch for other tensors."""
        yield name
        if self._graph.made_by(name, "Add"):
            name = self._source(name)
            yield name
        if self._graph.maker_of(name).op_type not in PRODUCTS:
            raise NoMatch

    def _source(self, name: str) -> str:
        """The only input that is no constant. Raises NoMatch."""
        maker = self._graph.maker_of(name)
        found = [source for source in maker.input if not self._graph.is_constant(source)]
        if len(found) != 1 or maker.op_type not in ELEMENTWISE | WITH_CONSTANTS:
            raise NoMatch
        source: str = found[0]
        return source

    def renames(self, names: Iterable[str]) -> bool:
        """Whether one of the tensors is packed now, or has another name."""
        return any(name in self._packed and self._padded.get(name) != name for name in names)

    def add(self, node: NodeProto) -> None:
        """Add a node of the padded graph, packed if its inputs are. Raises NoMatch for loops and branches."""
        if self._packed.keys() & set(uses_of(node)) - set(node.input):
            raise NoMatch
        copy = NodeProto()
        copy.CopyFrom(node)
        if node.op_type in PRODUCTS and node.input[0] in self._after:
            name = node.input[0]
            self._packed[name], self._padded[name] = self._pack(name), name
        if self._packed.keys() & set(node.input):
            self._add_user(copy)
        else:
            self._note_attention(node)
            self.nodes.append(copy)
        if self._entry in node.output:
            self._packed[self._entry], self._padded[self._entry] = self._pack(self._entry), self._entry

    def _note_attention(self, node: NodeProto) -> None:
        """Note what is padded because of an attention: the bias of its inputs, itself, and what uses its result."""
        if node.op_type == "Attention" and all(name in self._from_packed for name in node.input[:3]):
            self.attentions += 1
            self._after.update(node.output)
        elif node.output and node.output[0] in self._before and self._from_packed & set(node.input):
            self._from_packed.update(node.output)
        elif self._after & set(node.input) and node.op_type in ELEMENTWISE | {"QuantizeLinear"}:
            self._after.update(node.output)

    def _add_user(self, node: NodeProto) -> None:
        if node.output[0] in self._before:
            self._from_packed.update(node.output)
        elif self._works_on_tokens(node):
            node.input[:] = [self._packed.get(name, name) for name in node.input]
            self._packed |= {output: output for output in node.output}
            self.nodes.append(node)
            return
        node.input[:] = [self._pad(name) if name in self._packed else name for name in node.input]
        self.nodes.append(node)

    def _works_on_tokens(self, node: NodeProto) -> bool:
        """Whether a node works on each token by itself, also in an array without the dimension of items."""
        first, *others = node.input
        if node.op_type in ELEMENTWISE:
            return all(name in self._packed or self._graph.is_vector(name) for name in node.input)
        if node.op_type in NORMALIZATIONS and attribute(node, "axis", -1) != -1:
            return False
        known = node.op_type in NORMALIZATIONS | WITH_CONSTANTS
        return known and first in self._packed and all(map(self._graph.is_constant, others))

    def _pack(self, padded: str) -> str:
        """The tensor (items, longest, width) as (tokens, width)."""
        flat, packed = f"{padded}.flat", f"{padded}.packed"
        self.nodes.append(helper.make_node("Flatten", [padded], [flat], axis=2))
        self.nodes.append(helper.make_node("Gather", [flat, PLACES], [packed], axis=0))
        return packed

    def _pad(self, name: str) -> str:
        """The tensor (tokens, width) as (items, longest, width). Padding has the values of any token."""
        if name not in self._padded:
            self._padded[name] = f"{name}.padded"
            self.nodes.append(helper.make_node("Gather", [self._packed[name], ROWS], [self._padded[name]], axis=0))
        return self._padded[name]
