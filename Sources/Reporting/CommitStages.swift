// Owns how the account of a run's commits is shown: one line for each path on a terminal, and on a page the stages one
// behind the other, each as long as it took.

import Measurement

struct CommitStages {
  let breakdown: CommitBreakdown

  /// Paths with less than this share of the commits are in the JSON alone.
  private static let shownShare = 0.05
  /// Likewise stages, of the mean, on a terminal.
  private static let shownStage = 0.02

  private var shown: [CommitBreakdown.Path] {
    breakdown.paths.filter { share(of: $0) >= Self.shownShare }
  }

  private func share(of path: CommitBreakdown.Path) -> Double {
    Double(path.commits) / Double(max(1, breakdown.commits))
  }

  /// "own_disk" as a person says it.
  private static func name(_ path: CommitBreakdown.Path) -> String {
    path.name.map { $0 == "_" ? " " : String($0) }.joined()
  }

  /// For a terminal: a label, and what it says.
  var lines: [(String, String)] {
    shown.map { path in
      let stages = path.stages.filter { $0.meanNanoseconds >= Self.shownStage * path.meanNanoseconds }
        .map { "\($0.name) \(FigureText.duration(nanoseconds: $0.meanNanoseconds))" }
      let total = FigureText.duration(nanoseconds: path.meanNanoseconds)
      return (
        "commits by \(Self.name(path))",
        "\(FigureText.percent(share(of: path))), mean \(total): \(stages.joined(separator: ", "))"
      )
    }
  }

  // MARK: A page

  var section: Markup {
    RunPage.section(
      "Where a commit's time goes",
      [
        Markup(
          "p", ["class": "note"],
          text:
            "Means, as the target's nodes account for them in their metrics, from the call to its answer inside the node. "
            + "Each commit is charged to what completed its quorum. What is missing to the latency above is between the "
            + "generator and the node.")
      ] + shown.flatMap(figure))
  }

  private func figure(_ path: CommitBreakdown.Path) -> [Markup] {
    let title =
      "Quorum completed by: \(Self.name(path)), \(FigureText.percent(share(of: path))) of "
      + "\(FigureText.count(breakdown.commits)) commits"
    var start = 0.0
    let rows = path.stages.map { stage in
      defer { start += stage.meanNanoseconds }
      return row(stage, from: start, of: path.meanNanoseconds)
    }
    let names = ["Stage", "Mean", "Share", "One behind the other"]
    return [
      Markup("h3", text: title),
      Markup(
        "table", ["class": "stages"],
        [
          Markup("thead", [:], [Markup("tr", [:], names.map { Markup("th", text: $0) })]),
          Markup("tbody", [:], rows + [total(path)]),
        ]),
    ]
  }

  private func row(_ stage: CommitBreakdown.Stage, from start: Double, of whole: Double) -> Markup {
    let scale = 1000 / max(1, whole)
    let bar = Markup(
      "svg", ["viewBox": "0 0 1000 60", "preserveAspectRatio": "none", "role": "img", "aria-label": stage.name],
      [
        Markup(
          "rect",
          [
            "class": "bar", "x": FigureText.decimals(start * scale, 1), "y": "0", "height": "60",
            "width": FigureText.decimals(max(2, stage.meanNanoseconds * scale), 1),
          ])
      ])
    return Markup(
      "tr", [:],
      [
        Markup("th", text: stage.name),
        Markup("td", text: FigureText.duration(nanoseconds: stage.meanNanoseconds)),
        Markup("td", text: FigureText.percent(stage.meanNanoseconds / max(1, whole))),
        Markup("td", ["class": "way"], [bar]),
      ])
  }

  private func total(_ path: CommitBreakdown.Path) -> Markup {
    Markup(
      "tr", [:],
      [
        Markup("th", text: "together"), Markup("td", text: FigureText.duration(nanoseconds: path.meanNanoseconds)),
        Markup("td", text: ""), Markup("td", text: ""),
      ])
  }
}
