// What the load generator does for every answer.

import Benchmark
import Measurement

func measurementBenchmarks() {
  Counting.measure("histogram-record", prepare: { LatencyHistogram() }) { histogram in
    for sample in 0..<Counting.operations { histogram.record(nanoseconds: UInt64(100_000 + 7919 * sample)) }
  }
}
