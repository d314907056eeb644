// Owns the clients: proposals and reads through random nodes.
// Must never: stop asking because a node refused. Clients come back, and to other nodes.
// Invariant: every proposal has a number of its own, and no client proposes one twice.

import RaftCore

extension Simulator {
  mutating func load() {
    // What is still unsettled at the end has to settle by itself.
    guard phase == .faults || phase == .majority else { return }
    let node = loadChance.next(below: nodes.count)
    if nodes[node].raft != nil {
      if loadChance.chance(perMille: 500) { propose(at: node) } else { read(at: node) }
    }
    // A cluster that recovers is not loaded beyond what its narrowest limits let through.
    let rate = phase == .faults ? world.proposalsPerSecond : min(20, world.proposalsPerSecond)
    let gap = 2 * 1_000_000 / rate
    queue.push(.load, afterMicroseconds: loadChance.next(in: 1..<(gap + 1)))
  }

  private mutating func propose(at node: Int) {
    var batch: [Proposal] = []
    for _ in 0...loadChance.next(below: phase == .faults ? world.maxBatch : 1) {
      let id = checker.propose(by: node, life: nodes[node].life)
      let size = 9 + loadChance.next(below: world.maxPayloadBytes)
      batch.append(Proposal(id: id, payload: ProposalPayload.make(id: id, sizeBytes: size)))
    }
    give(node, .propose(batch))
  }

  private mutating func read(at node: Int) {
    for _ in 0...loadChance.next(below: world.maxBatch) {
      let id = nextRead
      nextRead += 1
      let floor = checker.committed.count
      if options.plantedBug == .readFromMemory {
        nodes[node].waitingReads.append(SimulatedNode.WaitingRead(id: id, index: 0, floor: floor))
      } else {
        nodes[node].readFloors[id] = floor
        give(node, .readIndex(id: id))
      }
    }
  }
}
