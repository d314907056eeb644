// Owns the words for what a search found, for a terminal and for a page alike.

import Measurement

enum LimitText {
  static func percentile(_ result: LimitResult) -> String {
    // Whole ones without a fraction.
    let percent = result.objective.percentile
    return "p\(percent == percent.rounded() ? FigureText.decimals(percent, 0) : "\(percent)")"
  }

  /// "p99 within 20.0 ms".
  static func objective(_ result: LimitResult) -> String {
    "\(percentile(result)) within \(FigureText.duration(nanoseconds: result.objective.latencyNanoseconds))"
  }

  static func interval(_ result: LimitResult) -> String {
    switch (result.holdsPerSecond, result.failsPerSecond) {
    case (let holds?, let fails?): "between \(FigureText.amount(holds)) and \(FigureText.amount(fails)) a second"
    case (let holds?, nil): "above \(FigureText.amount(holds)) a second, the highest that was tried"
    case (nil, let fails?): "below \(FigureText.amount(fails)) a second, the lowest that was tried"
    case (nil, nil): "not found"
    }
  }

  /// Without a full stop.
  static func binding(_ result: LimitResult) -> String {
    switch result.binding {
    case .generator: "the generator: run it on a machine of its own, or with more event loops"
    case .processors: "the processors of this machine\(shares(result))"
    case .disk: "the disk of this machine: see portcullis fsync"
    case .processorsOf(let node):
      "the processors of \(name(node)): \(FigureText.decimals(node.cores, 1)) of \(node.processors ?? 0) busy"
    case .diskOf(let node):
      "the disk of \(name(node)): its log was being flushed for \(percent(node.flushing)) of the time; see portcullis fsync"
    case .nothingSeen(0):
      "nothing of this machine; what the target was busy with cannot be seen from here: name where it serves metrics with "
        + "--metrics"
    case .nothingSeen:
      "neither this machine nor processors or disks of the nodes that were seen\(shares(result)): look at the network, and at "
        + "what waits in turn"
    case nil: "not known"
    }
  }

  /// What the nodes took, at the edge.
  private static func shares(_ result: LimitResult) -> String {
    let edge = result.trials.last { $0.ratePerSecond == result.failsPerSecond && !$0.holds }
    guard let nodes = edge?.nodes, !nodes.isEmpty else { return "" }
    let texts = nodes.map { node in
      let of = node.processors.map { " of \($0)" } ?? ", of how many is not known (--target-processors)"
      return "\(node.role.rawValue) \(FigureText.decimals(node.cores, 1))\(of)"
    }
    return " (cores busy: \(texts.joined(separator: ", ")))"
  }

  private static func name(_ node: NodeUsage) -> String {
    node.role == .server ? node.endpoint : "the \(node.role.rawValue) (\(node.endpoint))"
  }

  private static func percent(_ share: Double?) -> String {
    share.map { "\(FigureText.decimals(100 * $0, 0)) %" } ?? "–"
  }

  static let busyHead = ["offered", "processors here", "disk here", "leader's cores", "follower's cores", "flushing"]

  /// What was busy during one run, under ``busyHead`` without its first.
  static func busy(_ trial: LimitTrial) -> [String] {
    let nodes = trial.nodes ?? []
    let leader = nodes.first { $0.role != .follower }
    let follower = nodes.filter { $0.role == .follower }.max { $0.cores < $1.cores }
    func cores(_ node: NodeUsage?) -> String {
      guard let node else { return "–" }
      return FigureText.decimals(node.cores, 2) + (node.processors.map { " of \($0)" } ?? "")
    }
    return [
      percent(trial.usage?.processors), percent(trial.usage?.disk), cores(leader), cores(follower),
      percent(leader?.flushing),
    ]
  }
}
