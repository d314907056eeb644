// Owns how figures become places on a chart: linear or logarithmic, with ends and ticks that are round.
//
// It must never divide by an empty domain or take the logarithm of nothing: a file of results may hold any figures.

import Glibc

/// A mark on an axis.
struct ChartTick: Equatable {
  var value: Double
  var label: String
}

/// Figures of a domain, laid along pixels.
struct ChartScale: Equatable {
  enum Kind: Equatable {
    case linear
    case logarithmic
  }

  let kind: Kind
  let lower: Double
  let upper: Double
  var ticks: [ChartTick]

  /// From 0 to the first round figure that nothing is above.
  static func linear(upTo largest: Double, ticksAtMost: Int = 5) -> ChartScale {
    let wanted = largest.isFinite ? Swift.min(Swift.max(largest, 1e-3), 1e18) : 1
    let step = round125(wanted / Double(ticksAtMost), up: true)
    let count = Int((wanted / step).rounded(.up))
    let ticks = (0...count).map { index in
      ChartTick(value: Double(index) * step, label: label(Double(index) * step, step: step))
    }
    return ChartScale(kind: .linear, lower: 0, upper: Double(count) * step, ticks: ticks)
  }

  /// Steps of minutes, hours and days that a clock has.
  private static let clockSteps: [Double] = [
    10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 21_600, 43_200, 86_400,
  ]

  /// Seconds from 0 to `end` itself, with ticks at round times only.
  static func seconds(upTo end: Double, ticksAtMost: Int = 6) -> ChartScale {
    let upper = end.isFinite ? Swift.min(Swift.max(end, 1e-3), 1e12) : 1
    let least = upper / Double(ticksAtMost)
    let clockStep = least <= 5 ? nil : clockSteps.first { $0 >= least }
    let step = clockStep ?? round125(least, up: true)
    let ticks = (0...Int(upper / step)).map { index in
      ChartTick(value: Double(index) * step, label: timeLabel(Double(index) * step, step: step))
    }
    return ChartScale(kind: .linear, lower: 0, upper: upper, ticks: ticks)
  }

  /// Nanoseconds from a round figure to a round figure. Latencies run over decades, and the short ones matter too.
  static func latency(from smallest: Double, to largest: Double) -> ChartScale {
    logarithmic(from: smallest, to: largest, label: latencyLabel)
  }

  /// Rates a second from a round figure to a round figure.
  static func rate(from smallest: Double, to largest: Double) -> ChartScale {
    logarithmic(from: smallest, to: largest) { value in
      let thousands = value >= 10_000
      let shown = Swift.min(1e18, thousands ? value / 1_000 : value)
      return FigureText.count(UInt64(shown.rounded())) + (thousands ? "k" : "")
    }
  }

  private static func logarithmic(
    from smallest: Double, to largest: Double, label: (Double) -> String
  ) -> ChartScale {
    let low = Swift.max(1, Swift.min(smallest, largest))
    let high = Swift.min(Swift.max(low, largest), 1e19)
    let lower = round125(low, up: false)
    var upper = round125(high, up: true)
    if upper <= lower { upper = round125(lower * 1.5, up: true) }
    var values: [Double] = []
    var value = lower
    while value <= upper * 1.001 {
      values.append(value)
      value = round125(value * 1.5, up: true)
    }
    // Beyond this many, decades alone.
    if values.count > 7 { values = values.filter { isDecade($0) } }
    return ChartScale(
      kind: .logarithmic, lower: lower, upper: upper,
      ticks: values.map { ChartTick(value: $0, label: label($0)) })
  }

  /// A scale whose places are worked out by its caller.
  static func plain(from lower: Double, to upper: Double, ticks: [ChartTick]) -> ChartScale {
    ChartScale(kind: .linear, lower: lower, upper: Swift.max(upper, lower + 1e-9), ticks: ticks)
  }

  private init(kind: Kind, lower: Double, upper: Double, ticks: [ChartTick]) {
    self.kind = kind
    self.lower = lower
    self.upper = upper
    self.ticks = ticks
  }

  /// Where a figure lies, 0 at the lower end and 1 at the upper. What is outside is put at the nearer end.
  func share(of value: Double) -> Double {
    let share =
      switch kind {
      case .linear: (value - lower) / (upper - lower)
      case .logarithmic: log10(Swift.max(value, lower) / lower) / log10(upper / lower)
      }
    return share.isFinite ? Swift.min(1, Swift.max(0, share)) : 0
  }

  // MARK: Round figures

  /// The nearest of 1, 2, 5, 10, 20, 50 … that is not above, or not below, the figure.
  static func round125(_ value: Double, up: Bool) -> Double {
    let decade = pow(10, log10(value).rounded(.down))
    let steps = [0.5, 1, 2, 5, 10].map { $0 * decade }
    // A figure that is round already stays, however its logarithm was rounded.
    return up
      ? steps.first { $0 >= value * 0.999_999 } ?? 10 * decade
      : steps.last { $0 <= value * 1.000_001 } ?? decade
  }

  private static func isDecade(_ value: Double) -> Bool {
    let exponent = log10(value)
    return (exponent - exponent.rounded()).magnitude < 0.01
  }

  /// As many digits as the step needs.
  private static func label(_ value: Double, step: Double) -> String {
    if step >= 1 { return FigureText.count(UInt64(value.rounded())) }
    return FigureText.decimals(value, step >= 0.1 ? 1 : step >= 0.01 ? 2 : 4)
  }

  private static func timeLabel(_ seconds: Double, step: Double) -> String {
    if step < 60 { return "\(label(seconds, step: step)) s" }
    if step < 3_600 { return "\(label(seconds / 60, step: step / 60)) min" }
    return "\(label(seconds / 3_600, step: step / 3_600)) h"
  }

  /// A round latency in its largest whole unit: "200 µs", "1 ms".
  static func latencyLabel(_ nanoseconds: Double) -> String {
    let units: [(Double, String)] = [(1e9, "s"), (1e6, "ms"), (1e3, "µs")]
    for (unit, name) in units where nanoseconds >= unit * 0.999 {
      return "\(FigureText.count(UInt64(Swift.min(1e18, nanoseconds / unit).rounded()))) \(name)"
    }
    return "\(UInt64(nanoseconds.rounded())) ns"
  }
}
