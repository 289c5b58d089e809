// The course of the lines. On a wide screen the ingress stands left of the tokenizers, and the models stand right of
// them; on a narrow one the ingress stands above, and its lines run along both sides.

const BELOW = 18; // pixels: a line to a model enters this far above the lower edge of its box
const BEND = 40;

/** The `d` of the path from one box to another; `from` "" stands for the clients, which have no box. */
export function pathBetween(stage, from, to) {
  const at = (name) => placeIn(stage, name);
  const narrow = at("Ingress").right > stage.clientWidth * 0.6;
  const target = at(to);
  if (from === "") return narrow ? vertical(target) : horizontal(target);
  if (from === "PersonaChat") return narrow ? fromChatBelow(at(from), target) : fromChat(at(from), target);
  return narrow ? alongTheSide(at(from), target, stage.clientWidth) : fromIngress(at(from), target);
}

function placeIn(stage, name) {
  const outer = stage.getBoundingClientRect();
  const inner = stage.querySelector(`[data-name="${name}"]`).getBoundingClientRect();
  const [left, top] = [inner.left - outer.left, inner.top - outer.top];
  const [right, bottom] = [left + inner.width, top + inner.height];
  return { left, top, right, bottom, x: (left + right) / 2, y: (top + bottom) / 2 };
}

function horizontal({ left, y }) {
  return `M 0 ${y} H ${left}`;
}

function vertical({ x, top }) {
  return `M ${x} 0 V ${top}`;
}

/** To a tokenizer or the chat straight; to a model below the box of its tokenizer, which is shorter. */
function fromIngress(ingress, target) {
  const isNext = target.left - ingress.right < target.right - target.left;
  const y = isNext ? Math.min(target.y, target.top + 40) : target.bottom - BELOW;
  const from = Math.min(Math.max(y, ingress.top + 30), ingress.bottom - 30);
  const middle = ingress.right + BEND;
  return `M ${ingress.right} ${from} C ${middle} ${from} ${middle - BEND / 2} ${y} ${middle + 10} ${y} H ${target.left}`;
}

/** Through the gap between tokenizers and models. */
function fromChat(chat, target) {
  const isTokenizer = target.left < chat.right;
  const end = isTokenizer ? target.right : target.left;
  const y = isTokenizer ? target.top + 30 : target.top + 40;
  const middle = chat.right + (isTokenizer ? 34 : 48);
  return `M ${chat.right} ${chat.y} C ${middle + 10} ${chat.y} ${middle} ${chat.top} ${middle} ${chat.top - 20}
    V ${y + 20} Q ${middle} ${y} ${end} ${y}`;
}

function alongTheSide(ingress, target, width) {
  const isLeft = target.left < width / 2 - 1;
  const [side, edge] = isLeft ? [7, target.left] : [width - 7, target.right];
  const start = isLeft ? ingress.left : ingress.right;
  return `M ${start} ${ingress.y} Q ${side} ${ingress.y} ${side} ${ingress.y + 16} V ${target.y - 12} Q ${side} ${target.y} ${edge} ${target.y}`;
}

function fromChatBelow(chat, target) {
  const isLeft = target.x < chat.x;
  const edge = isLeft ? target.right : target.left;
  const y = target.bottom - 16;
  return `M ${chat.x} ${chat.top} V ${y + 10} Q ${chat.x} ${y} ${edge} ${y}`;
}
