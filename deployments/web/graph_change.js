// What happened between two answers of /v1/graph, whose counts only grow while a replica lives.

let askedMs = 0;

/**
 * {rates, calls}. `rates`: by deployment {requests, items}, each per second. `calls`: [{from, to, count}], the calls that
 * replicas of one deployment made to another. A replica that is new counts from its second report on.
 */
export function changeOf(before, after, nowMs) {
  const seconds = Math.max((nowMs - askedMs) / 1000, 0.001);
  askedMs = nowMs;
  const known = new Map(before.flatMap(({ replicas }) => replicas).map((replica) => [replica.id, replica]));
  const rates = new Map();
  const calls = [];
  for (const { name, replicas } of after) {
    const pairs = replicas.filter(({ id }) => known.has(id)).map((replica) => [known.get(replica.id), replica]);
    const rate = (field) => pairs.reduce((sum, [old, now]) => sum + now[field] - old[field], 0) / seconds;
    rates.set(name, { requests: rate("requests"), items: rate("items") });
    calls.push(...callsBetween(name, pairs));
  }
  return { rates, calls };
}

function callsBetween(from, pairs) {
  const counts = new Map();
  for (const [old, now] of pairs) {
    for (const [to, count] of Object.entries(now.calls)) {
      counts.set(to, (counts.get(to) ?? 0) + count - (old.calls[to] ?? 0));
    }
  }
  return [...counts].map(([to, count]) => ({ from, to, count }));
}
