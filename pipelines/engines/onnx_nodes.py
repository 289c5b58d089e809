"""Find the nodes of an ONNX graph by what they compute, and replace them."""

from collections.abc import Iterable, Iterator
from typing import Any

from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper


class NoMatch(Exception):
    """A node is not what a pattern asks for."""


class Nodes:
    """The nodes of a graph, by the names of their outputs."""

    def __init__(self, graph: GraphProto) -> None:
        self._graph = graph
        self._makers: dict[str, NodeProto] = {output: node for node in graph.node for output in node.output}
        self._outputs = {output.name for output in graph.output}
        self._tensors: dict[str, TensorProto] = {tensor.name: tensor for tensor in graph.initializer}

    def of(self, operator: str) -> list[NodeProto]:
        """All nodes of an operator, in the graph's order."""
        return [node for node in self._graph.node if node.op_type == operator]

    def made_by(self, name: str, operator: str) -> bool:
        """Whether a node of the operator computes `name`."""
        return name in self._makers and self._makers[name].op_type == operator

    def maker(self, name: str, operator: str) -> NodeProto:
        """The node that computes `name`. Raises NoMatch if it is of another operator, and for inputs and constants."""
        maker = self.maker_of(name)
        if maker.op_type != operator:
            raise NoMatch
        return maker

    def maker_of(self, name: str) -> NodeProto:
        """The node that computes `name`. Raises NoMatch for inputs and constants."""
        if name not in self._makers:
            raise NoMatch
        return self._makers[name]

    def is_constant(self, name: str) -> bool:
        """Whether a tensor is a constant, or computed from constants alone. An input that is left out is one, too."""
        if name in self._makers:
            return all(map(self.is_constant, uses_of(self._makers[name])))
        return name in self._tensors or not name

    def is_vector(self, name: str) -> bool:
        """Whether a tensor is a constant number or vector, which another file may hold, also in 16 bits."""
        source = self._before_cast(name)
        return source in self._tensors and len(self._tensors[source].dims) <= 1

    def only_user(self, name: str, operator: str) -> NodeProto:
        """The node that uses `name`. Raises NoMatch if others use it, too, or if it is of another operator."""
        users: list[NodeProto] = [node for node in self._graph.node if name in uses_of(node)]
        if len(users) != 1 or users[0].op_type != operator or name in self._outputs:
            raise NoMatch
        return users[0]

    def constant(self, name: str) -> NDArray[Any]:
        """The values of a constant. Raises NoMatch for other tensors, and for weights that another file holds."""
        tensor = self._tensors.get(name)
        if tensor is None or tensor.data_location == TensorProto.EXTERNAL:
            raise NoMatch
        return numpy_helper.to_array(tensor)

    def number(self, name: str) -> float:
        """A constant of one number. Raises NoMatch for others."""
        values = self.constant(name)
        if values.size != 1:
            raise NoMatch
        return float(values.item())

    def vector_length(self, name: str) -> int:
        """The length of a constant vector, which another file may hold, also in 16 bits. Raises NoMatch for others."""
        source = self._before_cast(name)
        if source not in self._tensors or len(self._tensors[source].dims) != 1:
            raise NoMatch
        return int(self._tensors[source].dims[0])

    def _before_cast(self, name: str) -> str:
        """The tensor that a Cast makes `name` from, or else `name`."""
        return str(self._makers[name].input[0]) if self.made_by(name, "Cast") else name

    def replace(
        self, old: NodeProto, operator: str, inputs: Iterable[str], domain: str = "", **attributes: Any
    ) -> None:
        """Turn `old` into another node with the same output."""
        old.CopyFrom(helper.make_node(operator, list(inputs), old.output, old.name, domain=domain, **attributes))

    def remove_unused(self) -> None:
        """Remove the nodes and constants on which no output of the graph depends."""
        needed = set(self._outputs)
        kept = []
        for node in reversed(self._graph.node):
            if needed.intersection(node.output):
                needed.update(uses_of(node))
                kept.append(node)
        tensors = [tensor for tensor in self._graph.initializer if tensor.name in needed]
        del self._graph.node[:], self._graph.initializer[:]
        self._graph.node.extend(reversed(kept))
        self._graph.initializer.extend(tensors)


def uses_of(node: NodeProto) -> Iterator[str]:
    """The names that a node uses, also those in the branches of If and in the bodies of loops."""
    yield from node.input
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            yield from (output.name for output in graph.output)
            for inner in graph.node:
                yield from uses_of(inner)


def attribute(node: NodeProto, name: str, default: Any) -> Any:
    """The value of a node's attribute, or the default of its operator."""
    return next((helper.get_attribute_value(one) for one in node.attribute if one.name == name), default)
