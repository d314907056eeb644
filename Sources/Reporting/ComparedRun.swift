// Owns what a comparison takes from one file of results, and which runs may stand beside one another.
//
// It must never compare runs whose load was made in different ways: a batch is another thing at another rate or size,
// so the ratio would say something about the load and nothing about the target.

package import Measurement

/// A file of results, as it was read.
package struct ResultFile: Sendable {
  package var name: String
  package var result: BenchResult

  package init(name: String, result: BenchResult) {
    self.name = name
    self.result = result
  }
}

/// A figure that is compared, one value from each run. The raw value is its name in JSON and in `--gate`.
package enum ComparedFigure: String, Sendable, Codable, CaseIterable {
  /// Answers a second within the measured time.
  case rate
  case p50
  case p99
  /// What the generator used for an operation. It says what a client costs, not what the target does.
  case cpu

  package var better: FigureComparison.Better { self == .rate ? .higher : .lower }

  package var unit: String { self == .rate ? "operations per second" : "nanoseconds" }

  var label: String {
    switch self {
    case .rate: "achieved rate"
    case .p50: "p50"
    case .p99: "p99"
    case .cpu: "generator CPU an op"
    }
  }

  /// The value of one run. Nil where the run has none: a percentile with too few samples, or nothing measured.
  func value(of result: BenchResult) -> Double? {
    let figures = result.measured
    let value: Double? =
      switch self {
      case .rate: figures.durationNanoseconds == 0 ? nil : figures.achievedPerSecond
      case .p50: figures.userLatency.percentile(50).map { Double($0) }
      case .p99: figures.userLatency.percentile(99).map { Double($0) }
      case .cpu: result.generator.operations == 0 ? nil : result.generator.cpuNanosecondsPerOperation
      }
    return value.flatMap { $0.isFinite ? $0 : nil }
  }

  func text(_ value: Double) -> String {
    self == .rate ? "\(FigureText.amount(value))/s" : FigureText.duration(nanoseconds: value)
  }
}

/// Why no comparison came about.
package struct ComparisonError: Error, CustomStringConvertible, Equatable {
  package var description: String

  /// What is quoted from a file goes to a terminal, so it is made plain here.
  package init(_ description: String) {
    self.description = PlainText.line(description)
  }
}
