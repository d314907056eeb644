// Owns how a plan reads on a terminal: the verdict first, figures with their formulas behind it, what to do last.

extension Plan {
  /// At most some 25 lines, without a line break at the end.
  package var text: String {
    var lines = [verdictLine]
    lines += latencyLines
    lines += limitLines
    lines += sensitivityLines
    lines.append(timerLine)
    lines += footprint.lines.map {
      Self.line($0.name.hasPrefix("store") ? "store" : Self.short($0.name), "\($0.text) = \($0.formula)")
    }
    lines += machineLines
    lines += warnings.map { Self.line("beware", $0) }
    lines += improvements.map { Self.line("to do", $0) }
    lines.append(
      Self.line("rests on", "disk: \(diskSource); processor costs of docs/capacity-planning.md or of --costs"))
    return lines.joined(separator: "\n")
  }

  private static func line(_ label: String, _ text: String) -> String {
    label + String(repeating: " ", count: max(1, 18 - label.count)) + text
  }

  private static func short(_ name: String) -> String {
    switch name {
    case "memory of a node": "memory, each node"
    case "disk of a node": "disk, each node"
    case "seconds until a new member has the state": "new member"
    case "days to the quota": "quota full in"
    case "fence rows in a gateway's file": "fence rows"
    default: name
    }
  }

  private var verdictLine: String {
    let percentile =
      objective.percentile == objective.percentile.rounded()
      ? "\(Int(objective.percentile))" : "\(objective.percentile)"
    let aim = "p\(percentile) within \(Words.time(objective.latencyNanoseconds))"
    let load = "\(Words.count(offeredPerSecond)) operations/s on \(nodes) \(nodes == 1 ? "node" : "nodes")"
    switch verdict {
    case .meets: return "MEETS the objective: \(load), \(aim)"
    case .misses: return "MISSES the objective: \(load), \(aim)"
    case .overloaded: return "OVERLOADED: \(load) are more than it can do, so what waits grows without end"
    }
  }

  private var latencyLines: [String] {
    var lines = latencies.map { one in
      Self.line(
        one.operation,
        verdict == .overloaded
          ? "\(Words.count(one.perSecond))/s, no steady latency"
          : "\(Words.count(one.perSecond))/s: p50 \(Words.time(one.p50Nanoseconds)), p99 \(Words.time(one.p99Nanoseconds))"
      )
    }
    if let worstLeader {
      lines.append(
        Self.line(
          "leader",
          "at \(leader) above; at \(worstLeader.leader), the worst place, p99 \(Words.time(worstLeader.p99Nanoseconds))"
        ))
    }
    return lines
  }

  private var limitLines: [String] {
    let use =
      "leader: processors \(Words.percent(processorShare)), disk \(Words.percent(diskShare)) busy, "
      + "\(Words.decimal(commandsPerFlush, places: 1)) commands a flush"
    guard let highest, let operatingPerSecond else {
      return [
        Self.line("highest rate", "none holds: the objective is shorter than one operation takes"),
        Self.line("use", use),
      ]
    }
    let why =
      switch highest.binding {
      case .processors: "processors bind"
      case .disk: "the disk binds"
      case .waiting: "the wait for disk and network binds"
      }
    return [
      Self.line(
        "highest rate",
        "\(Words.count(highest.perSecond))/s in these proportions (\(why)); ask at most \(Words.count(operatingPerSecond))/s of it"
      ),
      Self.line("use", use),
    ]
  }

  private var sensitivityLines: [String] {
    sensitivities.map { one in
      let p99 = one.p99Nanoseconds.map { "p99 \(Words.time(Double($0)))" } ?? "overloaded"
      let highest = one.highestPerSecond.map { "highest \(Words.count($0))/s" } ?? "no rate holds"
      return Self.line("if", "\(one.text): \(p99), \(highest)")
    }
  }

  private var timerLine: String {
    let set = "--heartbeat-interval \(timers.heartbeatMilliseconds) --election-timeout \(timers.electionMilliseconds)"
    let margin = Words.decimal(timers.margin, places: 1)
    return Self.line("timers", "\(set); the planned timeout is \(margin) × the \(timers.reason)")
  }

  private var machineLines: [String] {
    [
      Self.line(
        "each node",
        "\(machine.processors) processors, \(machine.memoryGigabytes) GB of memory, \(machine.diskGigabytes) GB of disk at "
          + "\(Words.count(machine.flushesPerSecond)) flushes/s, \(Words.count(machine.networkMegabitsPerSecond)) Mbit/s"
      ),
      Self.line(
        "etcd's guide",
        "\(guide.name): \(guide.processors) vCPU, \(guide.memoryGigabytes) GB, \(guide.concurrentIOPS) concurrent IOPS, "
          + "\(Words.count(guide.diskMegabytesPerSecond)) MB/s"),
    ]
  }
}
