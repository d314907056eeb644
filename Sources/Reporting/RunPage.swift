// Owns the page that a run is shown on: one file without a script or anything to load, the verdict first.
//
// It must never show a figure of an invalid or failed run above its verdict, and never leave out a figure that the
// text for a terminal has. The same result gives the same page, byte for byte.

package import Measurement

/// A result as one HTML file.
package func renderHTML(_ result: BenchResult) -> String {
  Markup.document(RunPage(result: result).root)
}

struct RunPage {
  let result: BenchResult

  var root: Markup {
    Markup("html", ["lang": "en"], [head, Markup("body", [:], [header, Markup("main", [:], sections), footer])])
  }

  private var head: Markup {
    Self.head("\(result.scenario): \(LoadText.verdict(result.judgement.verdict)), \(result.startedAt)")
  }

  static func head(_ title: String) -> Markup {
    Markup(
      "head", [:],
      [
        Markup("meta", ["charset": "utf-8"]),
        Markup("meta", ["name": "viewport", "content": "width=device-width, initial-scale=1"]),
        // What was promised, said to the browser: it loads nothing and runs nothing, whatever the page holds.
        Markup(
          "meta",
          ["http-equiv": "Content-Security-Policy", "content": "default-src 'none'; style-src 'unsafe-inline'"]),
        Markup("title", text: title),
        .style(PageStyle.sheet),
      ])
  }

  // MARK: The verdict

  private var header: Markup {
    let judgement = result.judgement
    let verdict = LoadText.verdict(judgement.verdict)
    let role = judgement.verdict.rawValue
    var children = [
      Markup(
        "h1", [:],
        [Markup("span", text: result.scenario), Markup("span", ["class": "verdict \(role)"], text: verdict)])
    ]
    if let ending = LoadText.ending(result.ending) {
      children.append(
        Markup("p", text: "The run was cut short (\(ending)): these are the figures of the part that ran."))
    }
    if !judgement.reasons.isEmpty {
      let items = judgement.reasons.map { reason in
        Markup("li", [:], [Markup("strong", text: reason.code), Markup("span", text: ": \(reason.message)")])
      }
      children.append(Markup("ul", ["class": "reasons \(role)"], items))
    }
    children.append(
      Markup("p", [:], [.text("\(LoadText.target(result.target)) · "), Markup("time", text: result.startedAt)]))
    let shape = LoadText.shape(result.configuration.shape)
    let size = LoadText.size(result.configuration)
    children.append(Markup("p", ["class": "soft"], text: "\(shape), \(size), seed \(result.configuration.seed)"))
    return Markup("header", [:], children)
  }

  private var footer: Markup {
    let version = result.environment.buildConfiguration
    return Markup(
      "footer", ["class": "note"],
      text: "Made by portcullis report html from a result of the schema \(result.schema), measured with a \(version) "
        + "build. What the figures mean: docs/measuring-reports.md.")
  }

  // MARK: The sections

  private var sections: [Markup] {
    [RunFigures(result: result).section] + latency
      + (result.commits.map { [CommitStages(breakdown: $0).section] } ?? [])
      + overTime + RunFigures(result: result).schedule
      + RunFacts(result: result).sections
  }

  static func section(_ title: String, _ children: [Markup]) -> Markup {
    Markup("section", [:], [Markup("h2", text: title)] + children)
  }

  static func figure(_ title: String, _ chart: LineChart, _ caption: String) -> Markup {
    Markup(
      "figure", [:],
      [Markup("h3", text: title), chart.markup, Markup("figcaption", text: caption)])
  }

  private var latency: [Markup] {
    let figures = result.measured
    let isOpen = !figures.latencyFromIntendedStart.isEmpty
    let tables = RunFigures(result: result)
    var children = [tables.latencyTable] + [tables.specialTable].compactMap(\.self)
    let spectrum = SpectrumChart.chart([
      (.first, "from start", figures.latencyFromIntendedStart),
      (isOpen ? .second : .first, "from send", figures.latencyFromSend),
    ])
    if let spectrum {
      children.append(
        Self.figure(
          "Percentile spectrum", spectrum,
          "Each step to the right is ten times rarer. Dotted: fewer than "
            + "\(LatencyHistogram.samplesRequiredAbovePercentile) samples lie above, so chance decides."))
    }
    children.append(
      Markup(
        "p", ["class": "note"],
        text: isOpen
          ? "From intended start: what a user would have waited, from when the operation was due. From send: what the "
            + "target took, from the call to its answer."
          : "From the call to its answer. A closed loop waits for its target, so its tail looks better than users "
            + "would see it: for that, offer a rate."))
    return [Self.section("Latency", children)]
  }

  private var overTime: [Markup] {
    guard let charts = TimelineCharts(result) else { return [] }
    let together = charts.slicesTogether.map { " One point stands for up to \($0) slices: the highest of them." } ?? ""
    var children = [Self.figure("Answers a second", charts.rate, "Time since the measured part began.")]
    if let latency = charts.latency {
      let gaps = "A line has gaps where a slice has too few samples for the percentile."
      children.append(Self.figure("Latency", latency, gaps + together))
    }
    children.append(
      Self.figure("Operations in flight", charts.inFlight, "At the end of each slice. What only grows is a backlog."))
    return [Self.section("Over time", children)]
  }
}
