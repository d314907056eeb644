// Owns what to do first, and what to doubt.

extension Plan {
  /// What to improve, the most useful first.
  func advice(_ need: Need) -> [String] {
    var advice: [String] = []
    if let highest, highest.perSecond < offeredPerSecond || verdict != .meets {
      advice.append(
        "this machine takes \(Words.count(highest.perSecond)) of the \(Words.count(offeredPerSecond)) operations a second "
          + "within the objective")
    }
    let gains = sensitivities.filter(\.isImprovement).compactMap { one -> (Sensitivity, Double)? in
      guard let before = highest?.perSecond, let after = one.highestPerSecond else { return nil }
      return (one, after / before)
    }
    .sorted { $0.1 > $1.1 }
    if let (best, gain) = gains.first, gain >= 1.1 {
      advice.append("first \(best.text): \(Words.decimal(gain, places: 1)) × the highest rate")
    } else if need.nodes > 1, need.longestRoundTrip > 0.002 {
      advice.append(
        "first move the nodes nearer to one another: round trips are most of the wait, and nothing else shortens it")
    } else if highest != nil {
      advice.append("nothing: neither disk nor processors would change much")
    }
    if need.clientsAt == .spread, need.nodes > 1, need.longestRoundTrip > 0.002, need.writesPerSecond > 0 {
      advice.append("send writes to the leader: what comes to a follower takes one more round trip")
    }
    if !timers.isPlannedEnough {
      advice.append(
        "set --heartbeat-interval \(timers.heartbeatMilliseconds) --election-timeout \(timers.electionMilliseconds)")
    }
    return advice
  }

  func doubts(_ need: Need) -> [String] {
    var doubts: [String] = []
    if need.nodes.isMultiple(of: 2) {
      doubts.append(
        "\(need.nodes) nodes survive the loss of \((need.nodes - 1) / 2), as \(need.nodes - 1) do: take an odd number")
    }
    if need.nodes == 1 { doubts.append("one node: while it is down nothing is served, and its disk is the only copy") }
    if need.sharesMachine, need.nodes > 1 {
      doubts.append("all nodes on one machine are lost with it; this is for measuring, not for keeping data")
    }
    if timers.margin < TimerAdvice.leastMargin {
      doubts.append(
        "the election timeout has a margin of \(Words.decimal(timers.margin, places: 1)) only; \(timers.reason)")
    }
    if let days = footprint.daysToQuota, days < 90 {
      doubts.append("the quota is full in \(Words.count(days.rounded(.down))) days: raise it, compact or delete")
    }
    if processorShare > 0.7 {
      doubts.append(
        "the leader's processors are \(Words.percent(processorShare)) busy: a snapshot or a lost node is felt")
    }
    if stoppedShare > Self.hardlyStopped {
      doubts.append(
        "the leader stands still for \(Words.percent(stoppedShare)) of the time, as a virtual machine does whose "
          + "host counts its own work for it against the machine's quota (flush_of_host of the costs): more processors end that"
      )
    }
    return doubts
  }

  /// Less is no more than chance: a stop or two in the whole run.
  private static let hardlyStopped = 0.005
}
