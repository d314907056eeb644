// The size of a store is counted along with every change. Here it is counted from nothing as well.

import CoordinationCore
import Testing

@Suite("The size of the store")
struct StoreSizeTests {
  /// Every version that the store still has, each counted once.
  private func recounted(_ store: KeyStore) throws -> Int {
    var seen: Set<ObjectIdentifier> = []
    var bytes = 0
    func count(_ version: KeyVersion) {
      guard seen.insert(ObjectIdentifier(version)).inserted else { return }
      bytes += version.key.bytes.count + version.value.count + 128
    }
    try store.range(RangeQuery(range: KeyRange(key: [0], rangeEnd: [0]))).versions.forEach(count)
    // What superseded a version, and the version with it, is in the log of a revision that was not compacted.
    store.forEachRevision(from: store.compactedRevision + 1, through: store.revision) { _, events in
      for event in events {
        count(event.version)
        event.previous.map(count)
      }
      return true
    }
    return bytes
  }

  @Test("is what a count of everything gives, after any commands, compactions and snapshots", arguments: 1...16)
  func recount(seed: UInt64) throws {
    var commands = RandomCommands(seed: seed)
    var machine = Machine()
    for round in 0..<40 {
      for _ in 0..<(seed.isMultiple(of: 2) ? 9 : 60) {
        machine.step(&commands)
        #expect(try machine.state.store.sizeBytes == recounted(machine.state.store))
      }
      if round.isMultiple(of: 5) { machine.apply(.compact(machine.state.revision)) }
      let restored = try read(pieces(of: machine.state))
      #expect(restored.store.sizeBytes == machine.state.store.sizeBytes)
      #expect(try restored.store.sizeBytes == recounted(restored.store))
    }
    #expect(machine.state.revision > 50)
  }

  @Test("is nothing again when all was deleted and compacted")
  func empty() throws {
    var machine = Machine()
    for number in 0..<500 { machine.put("k\(number % 90)", String(repeating: "v", count: number)) }
    machine.delete(KeyRange(key: [0], rangeEnd: [0]))
    #expect(machine.state.store.sizeBytes > 100_000)
    machine.apply(.compact(machine.state.revision))
    #expect(machine.state.store.sizeBytes == 0)
  }

  @Test("grows by no more than a command says that it needs", arguments: 1...8)
  func needed(seed: UInt64) throws {
    var commands = RandomCommands(seed: seed)
    var machine = Machine()
    for _ in 0..<2000 {
      let before = machine.state.store.sizeBytes
      let command = commands.command(for: machine.state, clock: machine.clock)
      machine.apply(command)
      let growth = machine.state.store.sizeBytes - before
      // Deletions need room for their tombstones, and a put that keeps a value is not asked for its length.
      switch command {
      case .put(let request) where !request.ignoresValue:
        let needed = try #require(command.neededBytes)
        #expect(growth <= needed)
      case .put, .transaction, .delete, .leaseRevoke, .leaseExpire, .closeSession: break
      default: #expect(growth <= command.neededBytes ?? 0)
      }
    }
  }

  @Test("of a transaction the larger branch counts, and what is nested with it; without puts it needs none")
  func transactions() {
    func put(_ bytes: Int) -> TransactionRequest.Operation {
      .put(PutRequest(key: Key("key"), value: Bytes(repeating: 0, count: bytes)))
    }
    let one = Command.put(PutRequest(key: Key("key"), value: Bytes(repeating: 0, count: 100))).neededBytes
    #expect(one == 231)
    var inner = TransactionRequest()
    inner.failure = [put(1000)]
    var request = TransactionRequest()
    request.success = [put(100), put(100)]
    #expect(Command.transaction(request).neededBytes == 2 * 231)
    request.failure = [.transaction(inner)]
    #expect(Command.transaction(request).neededBytes == 1131)
    request.success = []
    request.failure = [.delete(DeleteRequest(range: KeyRange(start: Key("key"), end: .single), wantsPrevious: false))]
    #expect(Command.transaction(request).neededBytes == nil)
  }
}
