// Owns the charts of a search for the limit: latency and answers against the offered rate.

import Measurement

enum LimitChart {
  private typealias Point = ChartSeries.Point

  /// Nil without a run that has both.
  static func latency(_ result: LimitResult) -> LineChart? {
    guard let x = rates(result) else { return nil }
    var series = [
      series(result, .first, "p50", \.p50Nanoseconds), series(result, .second, "p99", \.p99Nanoseconds),
    ]
    // Results from before there were both have the objective's alone, as every other percentile has.
    if ![50, 99].contains(result.objective.percentile) || series.allSatisfy({ $0.dots.isEmpty }) {
      series.append(self.series(result, .third, LimitText.percentile(result), \.latencyNanoseconds))
    }
    series.removeAll { $0.dots.isEmpty }
    let objective = Double(result.objective.latencyNanoseconds)
    let values = series.flatMap { $0.dots.map(\.y) } + [objective]
    guard !series.isEmpty, let smallest = values.min(), let largest = values.max() else { return nil }
    series.append(
      ChartSeries(
        role: .reference, label: "objective",
        segments: [[Point(x: x.lower, y: objective), Point(x: x.upper, y: objective)]]))
    var chart = LineChart(
      description: "Latency against the offered rate, on logarithmic axes.", x: x,
      y: .latency(from: smallest, to: largest), series: series)
    chart.band = band(result, x)
    return chart
  }

  static func achieved(_ result: LimitResult) -> LineChart? {
    guard let x = rates(result) else { return nil }
    let runs = drawn(result).map { Point(x: $0.ratePerSecond, y: $0.achievedPerSecond) }
    let answered = runs.map(\.y).filter { $0 > 0 }
    // On one axis with what was offered, so that all that was answered lies on a straight line.
    let y = ChartScale.rate(
      from: Swift.min(answered.min() ?? x.lower, x.lower), to: Swift.max(answered.max() ?? x.upper, x.upper))
    var chart = LineChart(
      description: "Answers a second against the offered rate, on logarithmic axes.", x: x, y: y,
      series: [
        ChartSeries(role: .first, label: "answered", segments: [middle(runs)], dots: runs),
        ChartSeries(
          role: .reference, label: "offered",
          segments: [[Point(x: x.lower, y: x.lower), Point(x: x.upper, y: x.upper)]]),
      ])
    chart.band = band(result, x)
    return chart
  }

  private static func rates(_ result: LimitResult) -> ChartScale? {
    let rates = drawn(result).map(\.ratePerSecond)
    guard let lowest = rates.first, let highest = rates.last else { return nil }
    return .rate(from: lowest, to: highest)
  }

  /// By their rates. A file may hold figures that are none.
  private static func drawn(_ result: LimitResult) -> [LimitTrial] {
    result.trials.filter { $0.ratePerSecond.isFinite && $0.ratePerSecond > 0 && $0.achievedPerSecond.isFinite }
      .sorted { $0.ratePerSecond < $1.ratePerSecond }
  }

  /// Between what held and what did not; to the end of the axis where one of them is not known.
  private static func band(_ result: LimitResult, _ x: ChartScale) -> ClosedRange<Double>? {
    guard result.holdsPerSecond != nil || result.failsPerSecond != nil else { return nil }
    let (from, to) = (result.holdsPerSecond ?? x.lower, result.failsPerSecond ?? x.upper)
    return from <= to ? from...to : nil
  }

  private static func series(
    _ result: LimitResult, _ role: ChartSeries.Role, _ label: String, _ latency: KeyPath<LimitTrial, UInt64?>
  ) -> ChartSeries {
    let runs = drawn(result).compactMap { trial in
      trial[keyPath: latency].map { Point(x: trial.ratePerSecond, y: Double($0)) }
    }
    return ChartSeries(role: role, label: label, segments: [middle(runs)], dots: runs)
  }

  /// Of the runs of each rate, the one in the middle.
  private static func middle(_ runs: [Point]) -> [Point] {
    var line: [Point] = []
    var index = runs.startIndex
    while index < runs.endIndex {
      let same = runs[index...].prefix { $0.x == runs[index].x }.map(\.y).sorted()
      line.append(Point(x: runs[index].x, y: same[same.count / 2]))
      index += same.count
    }
    return line
  }
}
