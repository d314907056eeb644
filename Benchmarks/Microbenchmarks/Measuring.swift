// What the load generator does for every answer.

import Benchmark
import Measurement

func measurementBenchmarks() {
  Counting.measure("histogram-record", prepare: histogram) { histogram in
    for sample in 0..<Counting.operations { histogram.record(nanoseconds: UInt64(100_000 + 7919 * sample)) }
  }
}

/// One that has its cells, which it makes with its first sample.
private func histogram() -> LatencyHistogram {
  var histogram = LatencyHistogram()
  histogram.record(nanoseconds: 1)
  return histogram
}
