// How each benchmark is run: a thousand operations are one sample, and its allocations are counted exactly. Times are
// shown and never judged, for they belong to the machine; a count belongs to the code.

import AllocationCounter
import Benchmark

enum Counting {
  static let operations = 1000

  /// Blocks of memory that a thousand operations ask for.
  static let allocations = BenchmarkMetric.custom(
    "allocationsPerThousand", polarity: .prefersSmaller, useScalingFactor: false)

  private static var configuration: Benchmark.Configuration {
    Benchmark.Configuration(
      metrics: [.wallClock, .throughput, allocations], warmupIterations: 3, scalingFactor: .kilo,
      maxDuration: .seconds(1), maxIterations: 500,
      // A group more or less that the log takes room for: half a hundredth of an allocation for each operation.
      thresholds: [allocations: BenchmarkThresholds(absolute: [.p90: 5])])
  }

  /// Measures `body`, which does `operations` of what `name` says. What `prepare` makes is made once.
  static func measure<Prepared>(
    _ name: String, prepare: @escaping () throws -> Prepared, _ body: @escaping (inout Prepared) throws -> Void
  ) {
    var prepared: Prepared?
    Benchmark(name, configuration: configuration) { benchmark in
      if prepared == nil { prepared = try prepare() }
      guard var state = prepared else { return benchmark.error("\(name) could not be prepared") }
      benchmark.startMeasurement()
      let before = allocations_of_this_thread()
      try body(&state)
      let after = allocations_of_this_thread()
      benchmark.stopMeasurement()
      benchmark.measurement(allocations, Int(after - before))
    }
  }
}
