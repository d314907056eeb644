// Owns the charts over time: rate, latency and what was in flight, from the slices of a run.
//
// It must never draw a slice that is too short to mean something, nor smooth a stall away: where slices are drawn
// together, the rate is their mean and every latency is their highest.

import Measurement

/// A stretch of the measured part: one slice or several.
struct TimelineStretch {
  var startSeconds: Double
  var endSeconds: Double
  var succeeded: Double
  var failed: Double
  var inFlight: Int
  var p50: UInt64?
  var p99: UInt64?
  var maximum: UInt64
  var slices: Int

  /// More stretches than this would stand closer than an eye can tell apart.
  static let mostStretches = 600.0

  var lengthSeconds: Double { endSeconds - startSeconds }
  var middleSeconds: Double { (startSeconds + endSeconds) / 2 }

  init(_ slice: TimelineSlice) {
    endSeconds = Double(slice.endNanoseconds) / 1e9
    startSeconds = Swift.max(0, endSeconds - Double(slice.durationNanoseconds) / 1e9)
    succeeded = Double(slice.succeeded)
    failed = Double(slice.failed)
    inFlight = slice.inFlight
    p50 = slice.p50Nanoseconds
    p99 = slice.p99Nanoseconds
    maximum = slice.maximumNanoseconds
    slices = 1
  }

  private mutating func take(_ next: TimelineStretch) {
    endSeconds = Swift.max(endSeconds, next.endSeconds)
    succeeded += next.succeeded
    failed += next.failed
    inFlight = Swift.max(inFlight, next.inFlight)
    p50 = [p50, next.p50].compactMap(\.self).max()
    p99 = [p99, next.p99].compactMap(\.self).max()
    maximum = Swift.max(maximum, next.maximum)
    slices += next.slices
  }

  /// The stretches of a run, in order. The last slice of a run may be a thousandth of the others: it is drawn with the
  /// one before it.
  static func all(of timeline: [TimelineSlice]) -> [TimelineStretch] {
    let slices = timeline.filter { $0.durationNanoseconds > 0 }.map { TimelineStretch($0) }
    let longest = slices.map(\.lengthSeconds).max() ?? 0
    let end = slices.map(\.endSeconds).max() ?? 0
    let least = Swift.max(longest / 2, end / mostStretches)
    var stretches: [TimelineStretch] = []
    for slice in slices {
      let isOpen = stretches.last.map { $0.lengthSeconds < least } ?? false
      if isOpen {
        stretches[stretches.count - 1].take(slice)
      } else {
        stretches.append(slice)
      }
    }
    if stretches.count > 1, let last = stretches.last, last.lengthSeconds < least {
      stretches.removeLast()
      stretches[stretches.count - 1].take(last)
    }
    return stretches.filter { $0.lengthSeconds > 0 }
  }
}

struct TimelineCharts {
  let stretches: [TimelineStretch]
  let offeredPerSecond: Double?

  /// Nil for a run without a timeline.
  init?(_ result: BenchResult) {
    stretches = TimelineStretch.all(of: result.timeline)
    guard !stretches.isEmpty else { return nil }
    if case .open(_, let rate, _) = result.configuration.shape, rate.isFinite, rate > 0 {
      offeredPerSecond = rate
    } else {
      offeredPerSecond = nil
    }
  }

  /// How many slices stand for one point, where it is more than one.
  var slicesTogether: Int? {
    // The last stretch may hold a short slice more than the others, of which nobody has to know.
    let most = stretches.dropLast().map(\.slices).max() ?? 1
    return most > 1 ? most : nil
  }

  private var end: Double { stretches.map(\.endSeconds).max() ?? 0 }
  private var time: ChartScale { .seconds(upTo: end) }

  private func points(_ value: (TimelineStretch) -> Double) -> [ChartSeries.Point] {
    stretches.map { .init(x: $0.middleSeconds, y: value($0)) }
  }

  var rate: LineChart {
    let achieved = points { $0.succeeded / $0.lengthSeconds }
    let failed = points { $0.failed / $0.lengthSeconds }
    var series: [ChartSeries] = []
    if let offeredPerSecond {
      let line: [ChartSeries.Point] = [.init(x: 0, y: offeredPerSecond), .init(x: end, y: offeredPerSecond)]
      series.append(ChartSeries(role: .reference, label: "offered", segments: [line]))
    }
    series.append(ChartSeries(role: .first, label: "achieved", segments: [achieved]))
    if stretches.contains(where: { $0.failed > 0 }) {
      series.append(ChartSeries(role: .trouble, label: "failed", segments: [failed]))
    }
    let largest = (achieved + failed).map(\.y).max() ?? 0
    return LineChart(
      description: "Answers a second over the measured time.", x: time,
      y: .linear(upTo: Swift.max(largest, offeredPerSecond ?? 0)), series: series)
  }

  /// Nil where no slice has an answer.
  var latency: LineChart? {
    let series = [
      ChartSeries(role: .second, label: "max", segments: segments { $0.maximum > 0 ? $0.maximum : nil }),
      ChartSeries(role: .first, label: "p99", segments: segments(\.p99)),
      ChartSeries(role: .third, label: "p50", segments: segments(\.p50)),
    ].filter { !$0.segments.isEmpty }
    let values = series.flatMap(\.segments).flatMap(\.self).map(\.y)
    guard let smallest = values.min(), let largest = values.max() else { return nil }
    return LineChart(
      description: "Latency over the measured time: median, 99th percentile and maximum of each slice.", x: time,
      y: .latency(from: smallest, to: largest), series: series)
  }

  /// The line breaks where a slice has too few samples for the percentile.
  private func segments(_ value: (TimelineStretch) -> UInt64?) -> [[ChartSeries.Point]] {
    var segments: [[ChartSeries.Point]] = [[]]
    for stretch in stretches {
      if let nanoseconds = value(stretch) {
        segments[segments.count - 1].append(.init(x: stretch.middleSeconds, y: Double(nanoseconds)))
      } else if segments.last?.isEmpty == false {
        segments.append([])
      }
    }
    return segments.filter { !$0.isEmpty }
  }

  var inFlight: LineChart {
    let values = points { Double($0.inFlight) }
    return LineChart(
      description: "Operations in flight at the end of each slice.", x: time,
      y: .linear(upTo: Swift.max(1, values.map(\.y).max() ?? 1), ticksAtMost: 4),
      series: [ChartSeries(role: .first, label: "in flight", segments: [values])])
  }
}
