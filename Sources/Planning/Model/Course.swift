// Owns the course of one run of the model: a leader is found, the load comes, what was measured is counted.
//
// It must never know how a commit is made: Raft in here is the one that serves, stepped as a node steps it, in virtual time.
// The same scenario and seed give the same prediction on every machine.

import Measurement
import RaftCore

extension WhatIf {
  /// Runs the model.
  package func predict() -> Prediction {
    var engine = Engine(self)
    engine.elect()
    engine.load()
    return engine.prediction()
  }
}

extension Engine {
  /// Only the node that is to lead feels time pass until it leads.
  mutating func elect() {
    queue.push(.tick(node: scenario.leader), afterNanoseconds: 0)
    while leaderNode == nil || !isLeaderReady, let event = queue.pop() { handle(event) }
    for node in nodes.indices where node != scenario.leader {
      // Ticks of different machines do not coincide.
      queue.push(
        .tick(node: node), afterNanoseconds: UInt64(node) * tickNanoseconds / UInt64(scenario.nodes))
    }
  }

  /// Its first entry is committed, so that it may answer reads, and every follower is known.
  private var isLeaderReady: Bool {
    let leader = nodes[scenario.leader]
    return leader.raft.commit.rawValue >= 1
  }

  mutating func load() {
    let start = queue.nowNanoseconds
    beginLoad(at: start)
    while !isOver, let event = queue.pop() { handle(event) }
    windowEnd = min(windowEnd ?? queue.nowNanoseconds, queue.nowNanoseconds)
  }

  private var isOver: Bool {
    if inFlight > Self.mostInFlight { return true }
    if let windowEnd {
      let isPast = queue.nowNanoseconds >= windowEnd
      return isPast && (unanswered == 0 || queue.nowNanoseconds > windowEnd + Self.patienceNanoseconds)
    }
    return false
  }

  /// More than this waits only where the load is beyond what can be done.
  static let mostInFlight = 50_000
  static let patienceNanoseconds: UInt64 = 5_000_000_000

  func prediction() -> Prediction {
    var prediction = Prediction()
    let end = windowEnd ?? queue.nowNanoseconds
    let length = Double(max(1, end > windowStart ? end - windowStart : 1))
    prediction.latency = latency
    prediction.achievedPerSecond = Double(answeredWithin) * 1e9 / length
    prediction.offeredPerSecond = Double(measuredStarts) * 1e9 / length
    prediction.refused = refused
    let isBehind = Double(answeredWithin) < 0.97 * Double(measuredStarts) - 50
    prediction.isOverloaded = inFlight > Self.mostInFlight || (isOpen && isBehind) || unanswered > 0
    let machine = machines[workers[loop(of: scenario.leader)].machine]
    prediction.processorShare = min(1, machine.busyNanoseconds / length / Double(machine.processors.count))
    prediction.stoppedShare = min(1, machine.stoppedNanoseconds / length / Double(machine.processors.count))
    prediction.use = use()
    let leader = nodes[scenario.leader]
    prediction.diskShare = min(1, leader.diskBusyNanoseconds / length)
    prediction.commandsPerFlush = leader.flushes == 0 ? 0 : Double(leader.flushedEntries) / Double(leader.flushes)
    prediction.longestSilence = nodes.map(\.longestSilence).max() ?? 0
    prediction.elections = elections
    (prediction.messages, prediction.entriesSent) = (sentMessages, sentEntries)
    return prediction
  }

  private func use() -> Prediction.Use {
    let operations = Double(max(1, answeredWithin))
    var use = Prediction.Use()
    for thread in workers.indices {
      let each = workers[thread].busyNanoseconds / operations
      switch node(of: thread) {
      case nil: use.clients += each
      case let place? where thread == loop(of: place): use.loop += each
      case let place? where thread == writer(of: place): use.writer += each
      case let place? where thread == kernel(of: place): break
      default: use.eventLoops += each
      }
    }
    return use
  }
}
