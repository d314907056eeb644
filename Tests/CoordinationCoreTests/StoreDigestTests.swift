// The sum by which stores are compared: equal where history is equal, whatever came afterwards.

import CoordinationCore
import Testing

@Suite("The sum of a store")
struct StoreDigestTests {
  @Test(
    "at a revision it stays what it was, and a store read back from its bytes has it too",
    arguments: 1...8 as ClosedRange<UInt64>)
  func stays(seed: UInt64) throws {
    var machine = randomState(seed: seed, steps: 200)
    let (then, compacted) = (machine.state.revision, machine.state.store.compactedRevision)
    let sum = try machine.state.store.digest(through: 0)
    #expect(try machine.state.store.digest(through: then) == sum)
    #expect(try read(pieces(of: machine.state)).store.digest(through: then) == sum)
    for alarm in machine.state.alarms { machine.apply(.alarm(.disarm(alarm))) }
    for step in 0..<50 { machine.put("key \(step % 7)", "value \(step)") }
    machine.delete(KeyRange(prefix: Bytes("key 3".utf8)))
    #expect(machine.state.store.compactedRevision == compacted)
    #expect(try machine.state.store.digest(through: then) == sum)
    #expect(try machine.state.store.digest(through: 0) != sum)
  }

  @Test("a value, a lease, a key's age and a deleted key make a difference")
  func differs() throws {
    func sum(_ build: (inout Machine) -> Void) throws -> UInt64 {
      var machine = Machine()
      machine.apply(.leaseGrant(7, ttlMilliseconds: 5000))
      build(&machine)
      return try machine.state.store.digest(through: 0)
    }
    let sums = [
      try sum { _ in }, try sum { $0.put("a", "b") }, try sum { $0.put("a", "c") }, try sum { $0.put("ab", "") },
      try sum { $0.put("a", "b", lease: 7) }, try sum { for _ in 0..<2 { $0.put("a", "b") } },
      try sum {
        $0.put("a", "b"); $0.delete(KeyRange(start: Key("a"), end: .single))
      },
    ]
    #expect(Set(sums).count == sums.count)
  }

  @Test("it is refused where a read at that revision is")
  func refused() throws {
    var machine = Machine()
    for step in 0..<5 { machine.put("key", "\(step)") }
    machine.apply(.compact(4))
    let store = machine.state.store
    #expect(throws: RequestError.compacted(asked: 3, compacted: 4)) { try store.digest(through: 3) }
    #expect(throws: RequestError.futureRevision(asked: 9, current: store.revision)) { try store.digest(through: 9) }
    #expect(try store.digest(through: 4) != store.digest(through: 5))
  }
}
