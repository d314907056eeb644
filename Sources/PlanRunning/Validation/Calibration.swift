// Owns the way from what threads used to what the model's costs are.
//
// It must never look at a run that is predicted. It looks at closed loads without delays, of one client and of many, on one
// node and on three: between few and many the share of each sleep and of each operation can be told apart, and between one
// node and three the messages.

import Planning

struct Calibration {
  /// Of one node: one client, many clients, one at a low open rate. Of three: one client, many.
  var one: Trial
  var many: Trial
  var open: Trial
  var threeOne: Trial
  var threeMany: Trial

  static let manyClients = 128
  static let openRate = 300.0

  func costs(disk: DiskModel, processors: Int) -> Costs {
    var costs = Costs.none
    let eventLoops = split(.eventLoops)
    costs.wakeWork = eventLoops.sleep
    (costs.requestIn, costs.answerOut) = (eventLoops.operation / 2, eventLoops.operation / 2)
    let loop = split(.loop)
    // A turn of a loop at rest ends with a sleep; what that sleep costs is counted apart.
    costs.turn = max(0, loop.sleep - costs.wakeWork)
    (costs.proposal, costs.apply) = (loop.operation * 0.3, loop.operation * 0.7)
    costs.read = costs.proposal
    let writer = split(.writer)
    // A group sleeps twice: for its flush, and for the next group.
    costs.group = max(0, 2 * writer.sleep - costs.wakeWork)
    // Writing into the journal is a checksum and a copy; the tree has a page to find.
    (costs.groupEntry, costs.settleEntry) = (writer.operation * 0.25, writer.operation * 0.75)
    setClient(&costs)
    costs.event = costs.answerOut / 3
    setWakeLatency(&costs, disk: disk, processors: processors)
    setMessages(&costs, disk: disk, processors: processors)
    return costs
  }

  /// The two unknowns of a thread, by the two loads: used = sleeps × a + operations × b.
  private func split(_ part: ThreadTimes.Part) -> (sleep: Double, operation: Double) {
    let (few, lots) = (one.threads[part], many.threads[part])
    let determinant = few.sleeps * many.operations - lots.sleeps * one.operations
    guard abs(determinant) > 1 else { return (0, lots.nanoseconds / max(1, many.operations)) }
    let sleep = (few.nanoseconds * many.operations - lots.nanoseconds * one.operations) / determinant
    guard sleep > 0 else { return (0, lots.nanoseconds / max(1, many.operations)) }
    let operation = (lots.nanoseconds - lots.sleeps * sleep) / max(1, many.operations)
    return operation > 0 ? (sleep, operation) : (few.nanoseconds / max(1, few.sleeps), 0)
  }

  private func setClient(_ costs: inout Costs) {
    let each = many.result.generator.cpuNanosecondsPerOperation
    (costs.clientSend, costs.clientReceive) = (each / 2, each / 2)
    let single = one.result.generator.cpuNanosecondsPerOperation
    costs.clientDispatch = max(2000, open.result.generator.cpuNanosecondsPerOperation - single)
  }

  private func scenario(_ costs: Costs, _ disk: DiskModel, nodes: Int, clients: Int, processors: Int) -> WhatIf {
    var scenario = Validation.scenario(nodes: nodes, disk: disk, costs: costs, processors: processors)
    scenario.load = .closed(clients: clients)
    scenario.operations = 4000
    return scenario
  }

  /// Such that one client of one node waits as long as it did.
  private func setWakeLatency(_ costs: inout Costs, disk: DiskModel, processors: Int) {
    guard let measured = one.latency.percentile(50) else { return }
    var (low, high) = (0.0, 200_000.0)
    for _ in 0..<9 {
      costs.wakeLatency = (low + high) / 2
      let predicted =
        scenario(costs, disk, nodes: 1, clients: 1, processors: processors).predict().percentile(50) ?? 0
      if predicted < measured { low = costs.wakeLatency } else { high = costs.wakeLatency }
    }
  }

  /// What the event loops of three nodes use beyond requests and sleeps goes to messages, and with many to entries in them.
  private func setMessages(_ costs: inout Costs, disk: DiskModel, processors: Int) {
    let perOperation = costs.requestIn + costs.answerOut
    func left(_ trial: Trial) -> Double {
      let use = trial.threads[.eventLoops]
      return max(0, use.nanoseconds - use.sleeps * costs.wakeWork - trial.operations * perOperation)
    }
    let few = scenario(costs, disk, nodes: 3, clients: 1, processors: processors)
    let each = few.predict()
    let messages = Double(each.messages) / Double(few.operations) * threeOne.operations
    let cost = left(threeOne) / max(1, messages) / 2
    (costs.messageOut, costs.messageIn) = (cost, cost)
    let lots = scenario(costs, disk, nodes: 3, clients: Self.manyClients, processors: processors)
    let grouped = lots.predict()
    let share = threeMany.operations / Double(lots.operations)
    let rest = left(threeMany) - Double(grouped.messages) * share * 2 * cost
    costs.entryOnWire = max(0, rest) / max(1, Double(grouped.entriesSent) * share) / 2
  }
}
