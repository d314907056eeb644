// A state that went through its bytes is the state that it was: now, and for every command to come.

import CoordinationCore
import Testing

/// The bytes of a state in pieces of one size.
func pieces(of state: Coordination, maxBytes: Int = 4096) -> [Bytes] {
  var writer = StateWriter(state)
  var all: [Bytes] = []
  while let piece = writer.next(maxBytes: maxBytes) { all.append(piece) }
  return all
}

func bytes(of state: Coordination) -> Bytes { pieces(of: state).flatMap { $0 } }

func read(_ pieces: [Bytes]) throws(StateError) -> Coordination {
  var reader = StateReader()
  for piece in pieces { try reader.read(piece) }
  return try reader.finish()
}

/// A state that commands of every kind have made.
func randomState(seed: UInt64, steps: Int) -> Machine {
  var commands = RandomCommands(seed: seed)
  var machine = Machine()
  for _ in 0..<steps { machine.step(&commands) }
  return machine
}

extension Machine {
  @discardableResult
  mutating func step(_ commands: inout RandomCommands) -> Envelope {
    index += 1
    clock += commands.draw.next(upperBound: 200 as UInt64)
    let envelope = commands.envelope(for: state, index: index, clock: clock)
    _ = state.apply(envelope, index: index, clockMilliseconds: clock)
    return envelope
  }
}

@Suite("A state read back from its bytes")
struct StateRoundTripTests {
  @Test("has the same digest and the same future, whatever made it", arguments: 1...24)
  func future(seed: UInt64) throws {
    var commands = RandomCommands(seed: seed)
    var machine = Machine()
    for round in 0..<12 {
      for _ in 0..<(seed.isMultiple(of: 3) ? 12 : 80) { machine.step(&commands) }
      var restored = machine
      restored.state = try read(pieces(of: machine.state, maxBytes: [1, 7, 100, 5000][round % 4]))
      #expect(restored.state.digest == machine.state.digest)
      #expect(restored.state.store.sizeBytes == machine.state.store.sizeBytes)
      try expectSameReads(restored.state, machine.state)
      for _ in 0..<60 {
        machine.index += 1
        machine.clock += commands.draw.next(upperBound: 200 as UInt64)
        let envelope = commands.envelope(for: machine.state, index: machine.index, clock: machine.clock)
        let one = machine.state.apply(envelope, index: machine.index, clockMilliseconds: machine.clock)
        let other = restored.state.apply(envelope, index: machine.index, clockMilliseconds: machine.clock)
        try #require(one.outcome.encoded() == other.outcome.encoded())
        try #require(one.notices == other.notices && one.isRepeat == other.isRepeat)
      }
      #expect(restored.state.digest == machine.state.digest)
      #expect(restored.state.store.sizeBytes == machine.state.store.sizeBytes)
    }
    #expect(machine.state.revision > 100)
  }

  private func expectSameReads(_ one: Coordination, _ other: Coordination) throws {
    for revision in max(1, one.store.compactedRevision)...one.revision {
      var query = RangeQuery(range: KeyRange(key: [0], rangeEnd: [0]))
      query.revision = revision
      let (a, b) = (try one.store.range(query).versions, try other.store.range(query).versions)
      try #require(Outcome.deleted(count: 0, previous: a).encoded() == Outcome.deleted(count: 0, previous: b).encoded())
    }
    #expect(eventTexts(one) == eventTexts(other))
    #expect(one.leases.ids == other.leases.ids)
    for id in one.leases.ids {
      let (a, b) = (try #require(one.leases[id]), try #require(other.leases[id]))
      #expect(a.attachedKeys == b.attachedKeys && a.generation == b.generation)
      #expect(a.deadlineMilliseconds == b.deadlineMilliseconds && a.ttlMilliseconds == b.ttlMilliseconds)
    }
    #expect(one.leases.expired(at: .max, limit: 99) == other.leases.expired(at: .max, limit: 99))
    #expect(one.clients.expired(at: .max, limit: 99) == other.clients.expired(at: .max, limit: 99))
    #expect(one.nodes == other.nodes)
  }

  private func eventTexts(_ state: Coordination) -> [String] {
    var all: [String] = []
    state.store.forEachRevision(from: 0, through: state.revision) { revision, events in
      for event in events {
        let texts = [event.version, event.previous].compactMap { $0 }.map {
          "\($0.key.bytes) \($0.value) \($0.createRevision) \($0.modRevision) \($0.version) \($0.lease)"
        }
        all.append("\(revision): \(texts)")
      }
      return true
    }
    return all
  }

  @Test("shares one record between the live keys, what replaced them and the events")
  func sharing() throws {
    var machine = Machine()
    for value in ["1", "2", "3"] { machine.put("a", value) }
    machine.apply(.compact(3))
    var restored = try read(pieces(of: machine.state))
    var events: [KeyEvent] = []
    restored.store.forEachRevision(from: 1, through: 4) { _, all in
      events += all
      return true
    }
    #expect(events.count == 2)
    #expect(events[0].version === events[1].previous)
    #expect(events[1].version === restored.store.current(Key("a")))
    #expect(events.map { $0.previous?.value } == [Bytes("1".utf8), Bytes("2".utf8)])
    _ = restored.apply(.compact(4), index: 9, clockMilliseconds: 9)
    #expect(restored.store.sizeBytes == 130)
  }

  @Test("does not depend on the pieces that it came in, nor on how its trees grew")
  func deterministic() throws {
    let state = randomState(seed: 5, steps: 600).state
    let whole = bytes(of: state)
    for size in [1, 3, 64, 1000, 1 << 20] {
      let all = pieces(of: state, maxBytes: size)
      #expect(all.flatMap { $0 } == whole)
      #expect(all.dropLast().allSatisfy { $0.count == size })
    }
    let restored = try read([whole])
    #expect(bytes(of: restored) == whole)
    #expect(restored.digest == state.digest)
  }

  @Test("is of the instant at which writing began, whatever is applied meanwhile")
  func instant() throws {
    var machine = Machine()
    for number in 0..<3000 { machine.put("k\(number)", "old") }
    let before = bytes(of: machine.state)
    var writer = StateWriter(machine.state)
    var written: Bytes = []
    while let piece = writer.next(maxBytes: 1000) {
      written += piece
      machine.put("k\(written.count % 3000)", "new")
      machine.delete(KeyRange(start: Key("k\(written.count % 1000)"), end: .single))
    }
    #expect(written == before)
    #expect(machine.state.digest != (try read([written])).digest)
  }

  @Test("keeps its spelling: snapshots that exist are read by every later version")
  func golden() throws {
    var machine = Machine()
    machine.apply(.leaseGrant(7, ttlMilliseconds: 2000))
    machine.put("a", "old", lease: 7)
    machine.put("b", "x")
    machine.apply(.compact(3))
    machine.put("a", "new")
    machine.delete(KeyRange(start: Key("b"), end: .single))
    _ = machine.acquire("s", by: "me", lease: 7)
    _ = machine.acquire("s", by: "you", lease: 7, waits: true)
    machine.apply(.registerNode(NodeRecord(node: 1, keyID: "k", publicKey: [9], clientURL: "u", birth: 300)))
    machine.apply(.forgetNode(1))
    machine.apply(.openClient(ttlMilliseconds: 5000))
    let named = Envelope(
      origin: 1, request: 2, name: ClientSequence(client: machine.index, sequence: 1), command: .markClock)
    _ = machine.state.apply(named, index: 99, clockMilliseconds: 1500)
    let text = bytes(of: machine.state).map { String($0, radix: 16) }.joined(separator: " ")
    #expect(text == Self.goldenText)
    #expect(machine.state.digest == 351_835_053_639_837_648)
    #expect(try read([bytes(of: machine.state)]).digest == machine.state.digest)
  }

  private static let goldenText =
    "50 43 53 54 1 3 6 1 1 61 3 6f 6c 64 2 2 1 e 0 1 1 2 1 62 1 78 0 1 1 2 1 61 3 6e 65 77 0 1 1 3 1 62 0 1 e d0 f 0 b8"
    + " 17 0 1 1 73 6 1 2 6d 65 e 2 8 3 79 6f 75 e 0 1 1 1 6b 1 9 1 75 ac 2 1 0 1 b 88 27 1 e4 32 0 2 1 27 7a b8 ed 6d"
    + " c6 7c 13 1 31 0"
}

@Suite("Bytes that are no state")
struct DamagedStateTests {
  @Test("cut short anywhere, they are refused")
  func truncated() {
    let whole = bytes(of: randomState(seed: 3, steps: 400).state)
    for length in 0..<whole.count {
      #expect(throws: StateError.cutShort) { try read([Array(whole[..<length])]) }
    }
    #expect(throws: StateError.self) { try read([whole + [0]]) }
    #expect(throws: StateError.self) { try read([whole, [0]]) }
  }

  @Test("with any bit flipped, they are refused or give a state whose digest differs", arguments: [3, 8, 21])
  func flipped(seed: UInt64) throws {
    let whole = bytes(of: randomState(seed: seed, steps: 150).state)
    var accepted = 0
    for position in whole.indices {
      for bit in 0..<8 {
        var damaged = whole
        damaged[position] ^= 1 << UInt8(bit)
        guard var state = try? read([damaged]) else { continue }
        accepted += 1
        try #require(bytes(of: state) == damaged)
        // What was accepted can be worked with.
        _ = state.apply(
          .delete(DeleteRequest(range: KeyRange(key: [0], rangeEnd: [0]), wantsPrevious: true)),
          index: 1 << 40, clockMilliseconds: 1 << 40)
        for id in state.leases.ids { _ = state.apply(.leaseRevoke(id), index: 1 << 41, clockMilliseconds: 1 << 41) }
      }
    }
    #expect(accepted > 0)
  }

  @Test("made up at random, they never trap, and an announced length costs nothing")
  func noise() {
    var draw = Draw(state: 17)
    let whole = bytes(of: randomState(seed: 4, steps: 300).state)
    for _ in 0..<4000 {
      var damaged = whole
      for _ in 0...draw.next(upperBound: 4 as UInt64) {
        let position = Int(draw.next(upperBound: UInt64(damaged.count)))
        let end = min(damaged.count, position + Int(draw.next(upperBound: 12 as UInt64)))
        switch draw.next(upperBound: 3 as UInt64) {
        case 0: for index in position..<end { damaged[index] = UInt8(truncatingIfNeeded: draw.next()) }
        case 1: for index in position..<end { damaged[index] = 0xFF }
        default: damaged.removeSubrange(position..<end)
        }
      }
      if let state = try? read([damaged]) { #expect(bytes(of: state) == damaged) }
    }
  }

  @Test("of a later format, they are refused by its number")
  func laterVersion() {
    var whole = bytes(of: Coordination())
    whole[4] = 5
    #expect(throws: StateError.unknownVersion(5)) { try read([whole]) }
  }

  @Test("after an error, a reader stays at it")
  func poisoned() {
    var reader = StateReader()
    #expect(throws: StateError.self) { try reader.read([1, 2, 3]) }
    #expect(throws: StateError.self) { try reader.read(bytes(of: Coordination())) }
    #expect(throws: StateError.self) { try reader.finish() }
  }
}
