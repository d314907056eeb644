// Owns the way from what threads used to what the model's costs are.
//
// It must never look at a run that is predicted. It looks at closed loads without delays, of one client and of many, on one
// node and on three: between few and many the share of each sleep and of each operation can be told apart, and between one
// node and three the messages.

import Planning

package struct Calibration: Sendable, Codable {
  /// Of one node: one client, many clients, one at a low open rate. Of three: one client, many.
  var one: TrialFigures
  var many: TrialFigures
  var open: TrialFigures
  var threeOne: TrialFigures
  var threeMany: TrialFigures

  static let manyClients = 128
  static let openRate = 300.0

  func costs(disk: DiskModel, processors: Int) -> Costs {
    var costs = Costs.none
    let eventLoops = split(.eventLoops)
    costs.eventLoopWake = eventLoops.sleep
    (costs.requestIn, costs.answerOut) = (eventLoops.operation / 2, eventLoops.operation / 2)
    let loop = split(.loop)
    // Part of a turn's cost is there without a sleep: publishing, looking at timers.
    (costs.loopWake, costs.turn) = (loop.sleep * 0.7, loop.sleep * 0.3)
    (costs.proposal, costs.apply) = (loop.operation * 0.3, loop.operation * 0.7)
    costs.read = costs.proposal
    let writer = split(.writer)
    // A group sleeps twice: for its flush, and for the next group. Handing a flush to the disk costs however busy it is.
    (costs.writerWake, costs.group) = (writer.sleep * 0.5, writer.sleep)
    // Writing into the journal is a checksum and a copy; the tree has a page to find.
    (costs.groupEntry, costs.settleEntry) = (writer.operation * 0.25, writer.operation * 0.75)
    setClient(&costs)
    costs.event = costs.answerOut / 3
    setWaking(&costs, disk: disk, processors: processors)
    setMessages(&costs, disk: disk, processors: processors)
    return costs
  }

  /// How much of a wake-up's cost is due in the open load at a low rate, which leaves the processors long rests; with one
  /// client; and with many.
  private static let shares = (open: 0.95, one: 0.6, many: 0.35)

  /// The two unknowns of a thread, by two loads: used = sleeps × share × a + operations × b.
  private func split(_ part: ThreadTimes.Part) -> (sleep: Double, operation: Double) {
    let (few, lots) = (open.threads[part], many.threads[part])
    let each = lots.nanoseconds / max(1, many.operations)
    let sleeps = (few: few.sleeps * Self.shares.open, many: lots.sleeps * Self.shares.many)
    let determinant = sleeps.few * many.operations - sleeps.many * open.operations
    guard determinant > 1 else { return (0, each) }
    let solved = (few.nanoseconds * many.operations - lots.nanoseconds * open.operations) / determinant
    // An operation costs something, however the noise of two runs falls.
    let operation = max(0.3 * each, (lots.nanoseconds - sleeps.many * solved) / max(1, many.operations))
    return (max(0, (few.nanoseconds - operation * open.operations) / max(1, sleeps.few)), operation)
  }

  private func setClient(_ costs: inout Costs) {
    let each = many.generatorNanosecondsPerOperation
    (costs.clientSend, costs.clientReceive) = (each / 2, each / 2)
    // One sleep for each operation of the closed loop; two of the open one, and one of its dispatcher.
    costs.clientWake = max(0, one.generatorNanosecondsPerOperation - each) / Self.shares.one
    let open = self.open.generatorNanosecondsPerOperation
    costs.dispatcherWake = max(5000, open - each - 2 * costs.clientWake * Self.shares.open)
    costs.clientDispatch = 2000
  }

  private func scenario(_ costs: Costs, _ disk: DiskModel, nodes: Int, clients: Int, processors: Int) -> WhatIf {
    var scenario = ValidationInputs.scenario(nodes: nodes, disk: disk, costs: costs, processors: processors)
    scenario.load = .closed(clients: clients)
    scenario.operations = 2000
    return scenario
  }

  /// Such that a put waits as long as it did: after long rests in the open load at a low rate, and after short ones of a
  /// single client. Each has a say in the other, so twice.
  private func setWaking(_ costs: inout Costs, disk: DiskModel, processors: Int) {
    for _ in 0..<2 {
      costs.wakeLatency = solve(upTo: 200_000, for: open) { value in
        var tried = costs
        tried.wakeLatency = value
        var scenario = scenario(tried, disk, nodes: 1, clients: 1, processors: processors)
        scenario.load = .open(process: .poisson, perSecond: [.put: Self.openRate])
        return scenario
      }
      costs.wakeFloor = solve(upTo: 1, for: one) { value in
        var tried = costs
        tried.wakeFloor = value
        return scenario(tried, disk, nodes: 1, clients: 1, processors: processors)
      }
    }
  }

  /// Such that one client of three nodes waits as long as it did; and what the event loops of three nodes under many clients
  /// use beyond requests, sleeps and messages goes to the entries in them.
  private func setMessages(_ costs: inout Costs, disk: DiskModel, processors: Int) {
    let message = solve(upTo: 80_000, for: threeOne) { value in
      var tried = costs
      (tried.messageOut, tried.messageIn) = (value, value)
      return scenario(tried, disk, nodes: 3, clients: 1, processors: processors)
    }
    (costs.messageOut, costs.messageIn) = (message, message)
    let lots = scenario(costs, disk, nodes: 3, clients: Self.manyClients, processors: processors)
    let grouped = lots.predict()
    let share = threeMany.operations / Double(lots.operations)
    let use = threeMany.threads[.eventLoops]
    let rest =
      use.nanoseconds - use.sleeps * Self.shares.many * costs.eventLoopWake
      - threeMany.operations * (costs.requestIn + costs.answerOut) - Double(grouped.messages) * share * 2 * message
    costs.entryOnWire = max(0, rest) / max(1, Double(grouped.entriesSent) * share) / 2
  }

  /// The cost with which the model's median is that of a trial: by halving, since more cost never answers sooner.
  private func solve(upTo bound: Double, for trial: TrialFigures, _ scenario: (Double) -> WhatIf) -> Double {
    guard let measured = trial.p50Nanoseconds else { return 0 }
    var (low, high) = (0.0, bound)
    for _ in 0..<9 {
      let middle = (low + high) / 2
      if (scenario(middle).predict().percentile(50) ?? 0) < measured { low = middle } else { high = middle }
    }
    return (low + high) / 2
  }
}
