// Appending: by Raft, in memory, and by the storage, to the disk.

import Benchmark
import Foundation
import LogStorage
import RaftCore

func logBenchmarks() {
  let payload = [UInt8](repeating: 7, count: 256)

  // Groups of 100, as a busy leader alone takes them: proposed, persisted, committed.
  Counting.measure("raft-append", prepare: leaderAlone) { state in
    for group in 0..<10 {
      let proposals = (0..<100).map { Proposal(id: UInt64(group * 100 + $0 + 1), payload: payload) }
      blackHole(step(&state.raft, [.propose(proposals)]))
    }
  }

  // Ten groups of 100 entries, each with a flush.
  Counting.measure("log-append", prepare: { try StoredLog() }) { log in
    for _ in 0..<10 { try log.append(100, payload: payload) }
  }
}

private struct LeaderAlone {
  var raft: Raft
}

/// The leader of a cluster of one, to which nothing was proposed yet.
private func leaderAlone() -> LeaderAlone {
  let id = NodeID(1)
  var raft = Raft(
    configuration: Configuration(
      id: id, membership: Membership(voters: [id]), heartbeatTicks: 1, electionTicks: 10, seed: 1),
    restored: .empty)
  while raft.role != .leader { blackHole(step(&raft, [.tick])) }
  return LeaderAlone(raft: raft)
}

/// A step, and those that follow from its writes, which are durable at once.
private func step(_ raft: inout Raft, _ inputs: [Input]) -> Int {
  var (inputs, committed) = (inputs, 0)
  while !inputs.isEmpty {
    let effects = raft.step(inputs, clockMilliseconds: 1)
    inputs = []
    for effect in effects {
      switch effect {
      case .persist(let persist): inputs.append(.persisted(sequence: persist.sequence))
      case .commit(let index):
        committed += 1
        inputs.append(.applied(through: index))
      default: break
      }
    }
  }
  return committed
}

/// A log in a directory of its own, which goes with it.
private final class StoredLog {
  private let directory: URL
  private let storage: LogStorage
  private var sequence: UInt64 = 0
  private var last = Index.beforeFirst

  init() throws {
    directory = FileManager.default.temporaryDirectory.appendingPathComponent("log-benchmark-\(UUID())")
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    storage = try LogStorage.open(
      directory: directory.path, identity: Identity(clusterID: 1, nodeID: NodeID(1), incarnation: 1)
    ).storage
  }

  deinit {
    storage.close()
    try? FileManager.default.removeItem(at: directory)
  }

  func append(_ count: Int, payload: [UInt8]) throws {
    let entries = (0..<count).map { offset in
      Entry(
        index: last.advanced(by: offset + 1), term: Term(1), clockMilliseconds: 1, kind: .command, payload: payload)
    }
    sequence += 1
    try storage.append([
      Persist(
        sequence: sequence, hardState: sequence == 1 ? HardState(term: Term(1), votedFor: nil) : nil, removeFrom: nil,
        entries: entries)
    ])
    last = last.advanced(by: count)
  }
}
