// What is known of nodes, and what stays known of those that were removed.

import CoordinationCore
import Testing

@Suite("Node records")
struct NodeRecordTests {
  private func record(_ node: UInt64, _ key: String, birth: UInt64 = 5) -> NodeRecord {
    NodeRecord(node: node, keyID: key, publicKey: [1], clientURL: "u", birth: birth)
  }

  @Test("the newest record of a node is found, with the birth of its disk")
  func lookup() {
    var machine = Machine()
    machine.apply(.registerNode(record(1, "a", birth: 5)))
    machine.apply(.registerNode(record(2, "b", birth: 6)))
    machine.apply(.registerNode(record(1, "c", birth: 7)))
    #expect(machine.state.node(1)?.birth == 7 && machine.state.node(2)?.birth == 6 && machine.state.node(3) == nil)
  }

  @Test("a forgotten node is not found, its keys are, and it may come back")
  func forgotten() {
    var machine = Machine()
    machine.apply(.registerNode(record(1, "a")))
    machine.apply(.registerNode(record(1, "b")))
    machine.apply(.forgetNode(1))
    #expect(machine.state.node(1) == nil)
    #expect(machine.state.nodes.map(\.keyID) == ["a", "b"] && machine.state.nodes.allSatisfy(\.isRemoved))
    machine.apply(.registerNode(record(1, "b", birth: 8)))
    #expect(machine.state.node(1)?.birth == 8 && machine.state.nodes.count == 2)
  }

  @Test(
    "the key of a node that was removed, or has another, vouches for what was granted until then, also when read back")
  func lastNumbers() throws {
    var machine = Machine()
    machine.apply(.registerNode(record(1, "a")))
    machine.apply(.registerNode(record(2, "b")))
    #expect(machine.state.nodes.allSatisfy { $0.lastNumber == 0 })
    machine.put("k", "v")
    let first = machine.state.store.revision
    machine.apply(.registerNode(record(1, "c")))
    #expect(machine.state.unboundedKey { $0 == 1 || $0 == 2 }.map { [$0.node, $0.isRemoved ? 1 : 0] } == [1, 0])
    machine.apply(.retireKeys(node: 1, isRemoved: false))
    #expect(machine.state.nodes.map(\.lastNumber) == [first, 0, 0])
    #expect(machine.state.unboundedKey { $0 == 1 || $0 == 2 } == nil)
    machine.put("k", "w")
    #expect(machine.state.unboundedKey { $0 == 1 }.map { [$0.node, $0.isRemoved ? 1 : 0] } == [2, 1])
    machine.apply(.retireKeys(node: 1, isRemoved: true))
    machine.apply(.retireKeys(node: 2, isRemoved: true))
    #expect(machine.state.unboundedKey { _ in false } == nil && machine.state.nodes.allSatisfy(\.isRemoved))
    let second = machine.state.store.revision
    #expect(second > first)
    #expect(machine.state.nodes.map(\.lastNumber) == [first, second, second])
    #expect(try read(pieces(of: machine.state)).nodes == machine.state.nodes)
    machine.apply(.registerNode(record(2, "b")))
    #expect(machine.state.nodes.last?.lastNumber == 0, "who is back vouches for what comes")
    #expect(try read(pieces(of: machine.state)).digest == machine.state.digest)
  }

  @Test("records of removed nodes are bounded: the oldest go, and no member's does")
  func bounded() {
    var machine = Machine()
    machine.apply(.registerNode(record(0, "member")))
    for node in 1...100 as ClosedRange<UInt64> {
      machine.apply(.registerNode(record(node, "k\(node)")))
      machine.apply(.forgetNode(node))
    }
    #expect(machine.state.nodes.count == StateLimits.maxRemovedNodeRecords + 1)
    #expect(machine.state.nodes.first?.keyID == "member" && machine.state.nodes[1].keyID == "k37")
  }

  @Test("commands of the first kind, without a birth, are still read")
  func oldCommand() throws {
    let old: Bytes = [1] + Bytes(repeating: 0, count: 16) + [48, 3, 1, 0x6B, 1, 9, 1, 0x75]
    guard case .registerNode(let record) = try Envelope.decode(old).command else {
      Issue.record("kind 48 registers a node")
      return
    }
    #expect(record == NodeRecord(node: 3, keyID: "k", publicKey: [9], clientURL: "u", birth: 0))
    #expect(Envelope(origin: 0, request: 0, command: .registerNode(record)).encoded() == old)
  }
}
