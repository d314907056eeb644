// Owns the figures of a run on its page: the key figures, the table of latencies, the schedule.

import Measurement

struct RunFigures {
  let result: BenchResult

  private var figures: LoadFigures { result.measured }
  private var isOpen: Bool { result.configuration.shape.isOpen }

  // MARK: Key figures

  var section: Markup {
    Markup("section", ["aria-label": "Key figures"], [Markup("dl", ["class": "cards"], cards)])
  }

  private var cards: [Markup] {
    let generator = result.generator
    var offered = "over \(LoadText.measuredLength(result))"
    if case .open(_, let rate, _) = result.configuration.shape {
      offered = "of \(FigureText.amount(rate))/s offered, \(offered)"
    }
    let wrong = figures.oracle.violations
    let clock = isOpen ? "from intended start" : "from send"
    let refused =
      figures.refused == 0 ? [] : [card("refused", FigureText.count(figures.refused), "as the load is made to be")]
    return refused + [
      card("achieved", "\(FigureText.amount(figures.achievedPerSecond))/s", offered),
      card("p50", FigureText.duration(nanoseconds: figures.userLatency.percentile(50)), clock),
      card("p99", FigureText.duration(nanoseconds: figures.userLatency.percentile(99)), clock),
      card("max", Self.maximum(figures.userLatency), clock),
      card("answered", FigureText.count(figures.succeeded), unanswered),
      card("failed", FigureText.count(figures.failed), failedShare),
      card(
        "generator", "\(FigureText.decimals(generator.coresUsed, 2)) cores",
        "of \(result.environment.processorCount) cores, "
          + "\(FigureText.duration(nanoseconds: generator.cpuNanosecondsPerOperation)) of CPU an operation"),
      card(
        "oracle", "\(FigureText.count(wrong)) \(wrong == 0 ? "wrong" : "WRONG")",
        "of \(FigureText.count(figures.oracle.checked)) answers checked"),
    ]
  }

  private func card(_ name: String, _ value: String, _ more: String?) -> Markup {
    Markup(
      "div", [:],
      [Markup("dt", text: name), Markup("dd", text: value)] + (more.map { [Markup("dd", text: $0)] } ?? []))
  }

  private var unanswered: String? {
    figures.unanswered == 0 ? nil : "\(FigureText.count(figures.unanswered)) never answered"
  }

  private var failedShare: String? {
    // Sums of what a file states may exceed what an integer holds.
    let all = Double(figures.succeeded) + Double(figures.failed)
    return figures.failed == 0 || all == 0 ? nil : "\(FigureText.percent(Double(figures.failed) / all)) of the answers"
  }

  private static func maximum(_ latency: LatencyHistogram) -> String {
    latency.isEmpty ? "–" : FigureText.duration(nanoseconds: latency.max)
  }

  // MARK: Latencies

  private static let percentiles: [(percent: Double, name: String)] = [
    (50, "p50"), (90, "p90"), (99, "p99"), (99.9, "p99.9"), (99.99, "p99.99"),
  ]

  var latencyTable: Markup {
    let fromSend = (LoadText.fromSend(result.configuration), figures.latencyFromSend)
    guard isOpen else { return Self.table([fromSend]) }
    return Self.table([
      ("from intended start", figures.latencyFromIntendedStart), fromSend, ("schedule lag", figures.scheduleLag),
    ])
  }

  /// What only some operations have: refusals, the target's own share, what watchers were told, the parts of a mix.
  var specialTable: Markup? {
    var columns: [(name: String, latency: LatencyHistogram)] = []
    if !figures.timeAtTarget.isEmpty { columns.append(("the target's own share", figures.timeAtTarget)) }
    if figures.refused > 0 { columns.append(("until a refusal", figures.latencyOfRefusals)) }
    if let told = figures.deliveries {
      columns.append(("watchers, from intended", told.fromIntendedStart))
      columns.append(("watchers, from answer", told.fromAcknowledgement))
    }
    columns += figures.parts.map { ($0.name, $0.latency) }
    return columns.isEmpty ? nil : Self.table(columns)
  }

  /// A column for each clock, so that a phone shows all of it.
  private static func table(_ columns: [(name: String, latency: LatencyHistogram)]) -> Markup {
    func row(_ name: String, _ cell: (LatencyHistogram) -> String) -> Markup {
      let cells = columns.map { Markup("td", text: cell($0.latency)) }
      return Markup("tr", [:], [Markup("th", ["scope": "row"], text: name)] + cells)
    }
    let head = [Markup("td")] + columns.map { Markup("th", ["scope": "col"], text: $0.name) }
    let body =
      percentiles.map { percentile in
        row(percentile.name) { FigureText.duration(nanoseconds: $0.percentile(percentile.percent)) }
      } + [
        row("max", maximum),
        row("mean") { $0.isEmpty ? "–" : FigureText.duration(nanoseconds: $0.mean) },
        row("samples") { FigureText.count($0.count) },
      ]
    return Markup("table", [:], [Markup("thead", [:], [Markup("tr", [:], head)]), Markup("tbody", [:], body)])
  }

  // MARK: The schedule

  /// Whether the generator kept to its times. A closed loop has none.
  var schedule: [Markup] {
    guard isOpen else { return [] }
    let lag = figures.scheduleLag
    let due = Double(figures.started) + Double(figures.skipped)
    func share(_ count: UInt64) -> String {
      let text = FigureText.count(count)
      return count == 0 || due == 0 ? text : "\(text), \(FigureText.percent(Double(count) / due)) of what was due"
    }
    let late = FigureText.duration(nanoseconds: LoadFigures.lateNanoseconds)
    let facts = [
      ("lag p50", FigureText.duration(nanoseconds: lag.percentile(50))),
      ("lag p99", FigureText.duration(nanoseconds: lag.percentile(99))),
      ("lag max", Self.maximum(lag)),
      ("late by over \(late)", share(figures.late)),
      ("skipped", share(figures.skipped)),
      ("most in flight", FigureText.count(UInt64(clamping: figures.highestInFlight))),
      ("in flight at the end", FigureText.count(UInt64(clamping: figures.inFlightAtEnd))),
    ]
    return [
      RunPage.section(
        "Schedule",
        [
          RunFacts.list(facts),
          Markup(
            "p", ["class": "note"],
            text: "How late the generator started its operations. It is part of the latency from the intended start, "
              + "and a run in which it is more than a small part of it is invalid."),
        ])
    ]
  }
}
