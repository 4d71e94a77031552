-- Searches for wrk: each thread walks over query bodies made beforehand.
--   wrk -t1 -c8 -d10s --latency -s query.lua http://127.0.0.1:6333 -- /collections/COLLECTION/points/query BODIES
-- BODIES is a file with one JSON body per line.

local requests = {}
local position = 0

function init(args)
  for line in io.lines(args[2]) do
    requests[#requests + 1] = wrk.format(
      "POST", args[1], { ["content-type"] = "application/json" }, line)
  end
end

function request()
  position = position % #requests + 1
  return requests[position]
end

function done(summary, latency)
  io.write(string.format(
    '\n{"requests": %d, "seconds": %.3f, "rate": %.1f, "p50_ms": %.3f, "p99_ms": %.3f, "max_ms": %.3f, "failed": %d}\n',
    summary.requests, summary.duration / 1e6, summary.requests / (summary.duration / 1e6),
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, latency.max / 1000,
    summary.errors.status + summary.errors.read + summary.errors.write + summary.errors.connect
      + summary.errors.timeout))
end
