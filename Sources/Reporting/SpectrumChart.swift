// Owns the percentile spectrum: latency against how rare it is, which shows a tail that no single percentile does.
//
// It must never draw a percentile that the samples do not support as if they did: beyond that the way to the largest
// sample is dotted.

import Glibc
import Measurement

enum SpectrumChart {
  /// A tick for each percentile that has a name.
  private static let named: [(share: Double, label: String)] = [
    (0, "0 %"), (0.5, "50 %"), (0.9, "90 %"), (0.99, "99 %"), (0.999, "99.9 %"), (0.9999, "99.99 %"),
    (0.99999, "99.999 %"), (0.999999, "99.9999 %"),
  ]

  /// Nil without a sample.
  static func chart(_ latencies: [(role: ChartSeries.Role, label: String, latency: LatencyHistogram)]) -> LineChart? {
    let shown = latencies.filter { !$0.latency.isEmpty }
    guard let smallest = shown.map({ $0.latency.min }).min(), let largest = shown.map({ $0.latency.max }).max(),
      let count = shown.map({ $0.latency.count }).max()
    else { return nil }
    let end = Swift.max(1, rarity(1 - 1 / Double(count)))
    let ticks = named.map { ChartTick(value: rarity($0.share), label: $0.label) }.filter { $0.value <= end * 1.001 }
    // The first series alone has its largest sample marked: a second figure there would crowd it.
    let series = shown.enumerated().map { index, one in
      self.series(one.role, one.label, one.latency, isMarked: index == 0, end: end)
    }
    return LineChart(
      description: "Percentile spectrum: latency against percentile, on logarithmic axes.",
      x: .plain(from: 0, to: end, ticks: ticks), y: .latency(from: Double(smallest), to: Double(largest)),
      series: series)
  }

  /// How rare it is to lie above a share, as a decimal logarithm: 1 above 90 %, 2 above 99 %.
  private static func rarity(_ share: Double) -> Double { share >= 1 ? 20 : -log10(1 - share) }

  private static func series(
    _ role: ChartSeries.Role, _ label: String, _ latency: LatencyHistogram, isMarked: Bool, end: Double
  ) -> ChartSeries {
    let total = Double(latency.count)
    let supported = total - Double(LatencyHistogram.samplesRequiredAbovePercentile)
    var solid: [ChartSeries.Point] = []
    var dotted: [ChartSeries.Point] = []
    var below = 0.0
    for bucket in latency.buckets {
      let y = Double(Swift.min(Swift.max(bucket.upToNanoseconds, latency.min), latency.max))
      let before = rarity(below / total)
      below += Double(bucket.count)
      // A cell ends where its last sample does; the very last one is drawn at half a sample, for its end is infinite.
      let after = Swift.min(end, rarity(Swift.min(below, total - 0.5) / total))
      if before < rarity(supported / total) {
        solid.append(.init(x: before, y: y))
        solid.append(.init(x: Swift.min(after, rarity(supported / total)), y: y))
      }
      if after > rarity(supported / total) {
        if dotted.isEmpty, let last = solid.last { dotted.append(last) }
        dotted.append(.init(x: Swift.max(before, rarity(supported / total)), y: y))
        dotted.append(.init(x: after, y: y))
      }
    }
    var series = ChartSeries(role: role, label: label, segments: [solid], dotted: dotted)
    if isMarked {
      let largest = FigureText.duration(nanoseconds: latency.max)
      series.marked = (.init(x: end, y: Double(latency.max)), "max \(largest)")
    }
    return series
  }
}
