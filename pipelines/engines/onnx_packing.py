"""Let the layers of a graph run without padding, on the tokens of all items in one array (tokens, width).

Products, normalizations and all that works on each token by itself cost nothing for padding then. Only attention sees
padded rows: its inputs are gathered into (items, longest, width) before it, and the tokens of its result after it.
Results change by rounding at most. PyTorch's engines do the same in `pipelines.engines.packed`.

Packing begins at the first normalization, which takes the embeddings, and ends where a node mixes tokens in another
way, such as pooling. A graph is packed only if that includes all its attentions.
"""

from collections.abc import Iterable

from onnx import ModelProto, NodeProto, TensorProto, helper

from pipelines.engines.onnx_nodes import Nodes, NoMatch, attribute

PLACES = "munjang.places"
"""Input (tokens,) int64: the index of each token in the flattened (items, longest)."""
ROWS = "munjang.rows"
"""Input (items, longest) int64: the index of each place's token in the packed array; of padding, that of any token."""

ELEMENTWISE = {"Add", "Sub", "Mul", "Div", "Gelu", "Erf", "Tanh", "Relu", "Sigmoid", "Cast", "Identity"}
WITH_CONSTANTS = {"MatMul", "MatMulInteger", "MatMulIntegerToFloat", "QuantizeLinear", "Clip"}
NORMALIZATIONS = {"LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization"}


def pack(model: ModelProto) -> bool:
    """Pack the graph in place, which then has the inputs `PLACES` and `ROWS`, too. Returns whether it could be packed.

    The attentions must be those that `pipelines.engines.onnx_fusion` makes of rows (items, tokens, heads * head).
    """
    packing = _Packing(Nodes(model.graph))
    attentions = [node for node in model.graph.node if node.op_type == "Attention"]
    if not attentions or not all(map(_takes_rows, attentions)):
        return False
    try:
        packing.begin(attentions[0].input[0])
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


def _takes_rows(attention: NodeProto) -> bool:
    return bool(attribute(attention, "q_num_heads", 0))


class _Packing:
    """The nodes of the packed graph, which are added in the order of the padded one.

    nodes       the nodes so far
    attentions  how many of them are attentions with packed inputs
    """

    def __init__(self, graph: Nodes) -> None:
        self.nodes: list[NodeProto] = []
        self.attentions = 0
        self._graph = graph
        self._entry = ""
        self._packed: dict[str, str] = {}  # the packed form of a tensor of the padded graph
        self._padded: dict[str, str] = {}  # the padded form of tensors that have both

    def begin(self, query: str) -> None:
        """Begin with the normalization that the first attention's query is computed from. Raises NoMatch."""
        while not any(self._graph.made_by(query, operator) for operator in NORMALIZATIONS):
            maker = self._graph.maker_of(query)
            if maker.op_type not in ELEMENTWISE | WITH_CONSTANTS:
                raise NoMatch
            query = next((name for name in maker.input if not self._graph.is_constant(name)), "")
        self._entry = query

    def renames(self, names: Iterable[str]) -> bool:
        """Whether one of the tensors is packed now, or has another name."""
        return any(name in self._packed and self._padded.get(name) != name for name in names)

    def add(self, node: NodeProto) -> None:
        """Add a node of the padded graph, packed if its inputs are. Raises NoMatch for loops and branches."""
        if self._packed.keys() & self._graph.uses(node) - set(node.input):
            raise NoMatch
        copy = NodeProto()
        copy.CopyFrom(node)
        if node.op_type == "Attention" and all(name in self._packed for name in node.input[:3]):
            self._add_attention(copy)
        elif self._packed.keys() & set(node.input):
            self._add_user(copy)
        else:
            self.nodes.append(copy)
        if self._entry in node.output:
            self._packed[self._entry] = self._pack(self._entry, f"{self._entry}.packed")
            self._padded[self._entry] = self._entry

    def _add_attention(self, node: NodeProto) -> None:
        node.input[:] = [*map(self._pad, node.input[:3]), *node.input[3:]]
        output = node.output[0]
        node.output[0] = f"{output}.padded"
        self.nodes.append(node)
        self._packed[output] = self._pack(node.output[0], output)
        self._padded[output] = node.output[0]
        self.attentions += 1

    def _add_user(self, node: NodeProto) -> None:
        if self._works_on_tokens(node):
            node.input[:] = [self._packed.get(name, name) for name in node.input]
            self._packed |= {output: output for output in node.output}
        else:
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

    def _pack(self, padded: str, packed: str) -> str:
        """The tensor (items, longest, width) as (tokens, width)."""
        self.nodes.append(helper.make_node("Flatten", [padded], [f"{padded}.places"], axis=2))
        self.nodes.append(helper.make_node("Gather", [f"{padded}.places", PLACES], [packed], axis=0))
        return packed

    def _pad(self, name: str) -> str:
        """The tensor (tokens, width) as (items, longest, width). Padding has the values of any token."""
        if name not in self._padded:
            self._padded[name] = f"{name}.padded"
            self.nodes.append(helper.make_node("Gather", [self._packed[name], ROWS], [self._padded[name]], axis=0))
        return self._padded[name]
