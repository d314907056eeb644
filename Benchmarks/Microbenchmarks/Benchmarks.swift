// Which benchmarks there are.

import Benchmark

let benchmarks: @Sendable () -> Void = {
  logBenchmarks()
  stateBenchmarks()
  fenceBenchmarks()
  measurementBenchmarks()
}
