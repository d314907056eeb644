// The per-key checker: what it must accept, what it must refuse, and that it agrees with trying everything.

import Linearizability
import Testing

private let anyLength = CheckLimits(minimumOperations: 0)

private func check(_ history: [Operation]) -> Verdict { LinearizabilityChecker(limits: anyLength).check(history) }

@Suite("The search for an order of one key's operations")
struct CheckerTests {
  @Test("accepts what a store did, whatever overlapped and whatever was not answered", arguments: 1...40)
  func good(seed: UInt64) {
    for round in 0..<25 as Range<UInt64> {
      var shape = HistoryMaker.Shape()
      shape.clients = [1, 3, 8][Int(round % 3)]
      shape.keys = [1, 2, 5][Int(seed % 3)]
      shape.unknown = [0, 4, 12][Int(round / 3 % 3)]
      shape.hasRevisions = round.isMultiple(of: 2)
      if seed.isMultiple(of: 4) { shape.values = 4 }
      var maker = HistoryMaker(seed: seed * 1000 + round, shape: shape)
      let verdict = check(maker.make())
      #expect(verdict.isConsistent, "\(verdict)")
    }
  }

  @Test("agrees with trying every order, on histories made up at random", arguments: 1...20)
  func agrees(seed: UInt64) {
    var draw = Draw(state: seed)
    var bad = 0
    for _ in 0..<250 {
      let history = (0..<(2 + draw.below(4))).map { _ in Self.random(&draw) }
      let expected = BruteForce(history).isLinearizable
      if !expected { bad += 1 }
      #expect(check(history).isConsistent == expected, "\(history.map(\.description).joined(separator: "\n"))")
    }
    #expect(bad > 40 && bad < 240)
  }

  @Test("agrees with trying every order, on good histories with one thing changed", arguments: 1...20)
  func mutated(seed: UInt64) {
    var draw = Draw(state: seed &* 77)
    var bad = 0
    for round in 0..<120 as Range<UInt64> {
      var shape = HistoryMaker.Shape()
      shape.operations = 6
      shape.clients = 3
      shape.keys = 1
      shape.unknown = 15
      shape.values = 3
      shape.hasRevisions = round.isMultiple(of: 2)
      var maker = HistoryMaker(seed: seed * 1000 + round, shape: shape)
      let good = maker.make()
      #expect(BruteForce(good).isLinearizable && check(good).isConsistent)
      let mutant = Self.mutated(good, &draw)
      let expected = BruteForce(mutant).isLinearizable
      if !expected { bad += 1 }
      #expect(check(mutant).isConsistent == expected, "\(mutant.map(\.description).joined(separator: "\n"))")
    }
    #expect(bad > 10)
  }

  @Test("a counterexample is itself bad, and its operations are of the history")
  func counterexamplesAreBad() {
    var found = 0
    for seed in 1...60 as ClosedRange<UInt64> {
      var shape = HistoryMaker.Shape()
      shape.operations = 40
      shape.keys = 1
      var draw = Draw(state: seed)
      var maker = HistoryMaker(seed: seed, shape: shape)
      guard let counterexample = check(Self.mutated(maker.make(), &draw)).counterexample else { continue }
      #expect(counterexample.operations.count <= 24)
      if counterexample.omitted > 0 { continue }
      found += 1
      #expect(check(counterexample.operations).counterexample != nil)
    }
    #expect(found > 15)
  }

  @Test("is quick with long histories of one key")
  func long() {
    var shape = HistoryMaker.Shape()
    shape.operations = 20_000
    shape.clients = 10
    shape.keys = 1
    shape.unknown = 0
    var maker = HistoryMaker(seed: 9, shape: shape)
    guard case .consistent(let operations, let steps) = check(maker.make()) else {
      Issue.record("a good history was refused")
      return
    }
    #expect(operations > 18_000 && steps < 2_000_000)
  }

  @Test("a comparison that failed may have come before or after a write that was not answered")
  func failedComparison() {
    let history = [
      Operation.one(.put(bytes("a")), 1, 2, .ok(Observation())),
      Operation.one(.compareAndSwap(.modRevision(242), bytes("b")), 3, 4, .unknown),
      Operation.one(.compareAndSwap(.modRevision(242), bytes("c")), 5, 6, .ok(Observation(changed: false))),
      Operation.one(.get, 7, 8, .ok(Observation(value: bytes("b"), modRevision: 403))),
    ]
    #expect(BruteForce(history).isLinearizable && check(history).isConsistent)
  }

  @Test("is quick with writes that were not answered, good or bad")
  func manyUnknown() {
    for seed in 1...3 as ClosedRange<UInt64> {
      var shape = HistoryMaker.Shape()
      shape.operations = 600
      shape.clients = 8
      shape.keys = 1
      shape.unknown = 8
      var maker = HistoryMaker(seed: seed, shape: shape)
      var history = maker.make()
      guard case .consistent(_, let steps) = check(history) else {
        Issue.record("a good history was refused")
        return
      }
      #expect(steps < 1_000_000)
      // The whole search: a value that nobody wrote is seen at the end.
      history.append(.get("x", 1 << 40, 1 << 41))
      history[history.count - 1].key = bytes("key0")
      #expect(check(history).counterexample != nil)
    }
  }

  @Test("out of steps is undecided, never good")
  func undecided() {
    var shape = HistoryMaker.Shape()
    shape.keys = 1
    var maker = HistoryMaker(seed: 1, shape: shape)
    let verdict = LinearizabilityChecker(limits: CheckLimits(minimumOperations: 1, stepsPerKey: 50)).check(maker.make())
    #expect(verdict == .undecided(key: bytes("key0"), steps: 51))
  }

  @Test("too short a history is void, and failed and unknown operations do not count")
  func void() {
    let history: [Operation] = [
      .put("a", 0, 1), .one(.get, 2, 3, .unknown), .one(.put(bytes("b")), 4, 5, .failed),
    ]
    let verdict = LinearizabilityChecker(limits: CheckLimits(minimumOperations: 2)).check(history)
    #expect(verdict == .tooFew(operations: 1, needed: 2))
    #expect(LinearizabilityChecker().check([]) == .tooFew(operations: 0, needed: 100))
  }

  private static func random(_ draw: inout Draw) -> Operation {
    func value() -> Bytes { bytes(["a", "b"][draw.below(2)]) }
    func revision() -> Int64? { draw.below(2) == 0 ? nil : Int64(1 + draw.below(5)) }
    let invoked = UInt64(draw.below(8))
    let action: Operation.Action =
      switch draw.below(7) {
      case 0...2: .get
      case 3, 4: .put(value())
      case 5: .delete
      default: .compareAndSwap(draw.below(2) == 0 ? .value(value()) : .modRevision(Int64(draw.below(5))), value())
      }
    let told = Observation(
      value: draw.below(3) == 0 ? nil : value(), modRevision: revision(), changed: draw.below(2) == 0,
      revision: revision())
    return .one(
      action, invoked, invoked + UInt64(draw.below(5)), [.unknown, .failed, .ok(told)][min(draw.below(8), 2)])
  }

  /// Changes one thing about one operation.
  private static func mutated(_ history: [Operation], _ draw: inout Draw) -> [Operation] {
    var mutant = history
    let place = draw.below(history.count)
    var told = mutant[place].observation ?? Observation()
    let other = history[draw.below(history.count)]
    switch draw.below(8) {
    case 0: told.value = other.observation?.value ?? bytes("v\(draw.below(3))")
    case 1: told.value = nil
    case 2: told.modRevision = Int64(draw.below(8))
    case 3: told.revision = Int64(draw.below(9))
    case 4: told.changed.toggle()
    case 5:
      mutant[place].invoked += 12
      mutant[place].returned += 12
    case 6: mutant[place].action = other.action
    default:
      mutant[place].outcome = .failed
      return mutant
    }
    mutant[place].outcome = .ok(told)
    return mutant
  }
}

@Suite("Planted violations are found by the search")
struct PlantedViolationTests {
  private func expectBad(_ history: [Operation], _ comment: Comment) {
    let verdict = check(history)
    #expect(verdict.counterexample != nil, comment)
    #expect(verdict.counterexample.map { $0.operations.count <= history.count } ?? false)
  }

  @Test("a stale read")
  func stale() {
    let history: [Operation] = [.put("a", 0, 1), .put("b", 2, 3), .get("a", 4, 5)]
    expectBad(history, "the second put was answered before the get began")
    #expect(check([.put("a", 0, 1), .put("b", 2, 4), .get("a", 4, 5)]).isConsistent)
  }

  @Test("an update that was lost")
  func lost() {
    expectBad([.put("a", 0, 1), .get(nil, 2, 3)], "an acknowledged put must be seen")
  }

  @Test("a value that nobody wrote, or that only a failed operation did")
  func invented() {
    expectBad([.put("a", 0, 9), .get("x", 1, 2)], "x was never written")
    expectBad(
      [.put("a", 0, 1), .one(.put(bytes("x")), 2, 3, .failed), .get("x", 4, 5)], "a failed put must have no effect")
  }

  @Test("two reads that go back in time, though the writes overlap them")
  func backwards() {
    expectBad([.put("a", 0, 1), .put("b", 2, 20), .get("b", 3, 4), .get("a", 5, 6)], "b was seen before a")
  }

  @Test("an effect before its invocation")
  func early() {
    expectBad([.get("a", 0, 1), .put("a", 2, 3)], "the put began after it was seen")
    expectBad([.get("a", 0, 1), .one(.put(bytes("a")), 2, 3, .unknown)], "so did one without an answer")
  }

  @Test("a compare-and-swap that succeeds twice from the same value or revision")
  func twice() {
    for expected in [Operation.Expectation.value(bytes("a")), .modRevision(2)] {
      let history: [Operation] = [
        .put("a", 0, 1, at: 2),
        .one(.compareAndSwap(expected, bytes("b")), 2, 9, .ok(Observation())),
        .one(.compareAndSwap(expected, bytes("c")), 2, 9, .ok(Observation())),
      ]
      expectBad(history, "only one can have found a")
      #expect(check(Array(history.dropLast())).isConsistent)
    }
  }

  @Test("an unknown write may take effect late or never, but not twice")
  func unknown() {
    let open = Operation.one(.put(bytes("b")), 2, 3, .unknown)
    #expect(check([.put("a", 0, 1), open, .get("a", 4, 5)]).isConsistent)
    #expect(check([.put("a", 0, 1), open, .get("a", 4, 5), .get("b", 6, 7)]).isConsistent)
    expectBad(
      [.put("a", 0, 1), open, .get("b", 4, 5), .put("c", 6, 7), .get("b", 8, 9)], "b cannot come back over c")
  }

  @Test("a revision that contradicts another answer")
  func revisions() {
    expectBad([.put("a", 0, 1, at: 5), .get("a", 2, 3, of: 4)], "a was written at 5")
    expectBad([.put("a", 0, 1, at: 5), .put("b", 2, 3, at: 4)], "revisions rise")
    let open = Operation.one(.put(bytes("b")), 2, 3, .unknown)
    expectBad([.put("a", 0, 1, at: 5), open, .get("b", 4, 5, of: 5)], "b came after a")
    expectBad(
      [.put("a", 0, 1, at: 5), open, .get("b", 4, 5), .put("c", 6, 7, at: 6)], "b has no revision between 5 and 6")
  }

  @Test("the counterexample of a long history is short, and only its key's")
  func short() throws {
    var shape = HistoryMaker.Shape()
    shape.operations = 2000
    shape.keys = 5
    var maker = HistoryMaker(seed: 4, shape: shape)
    var history = maker.make()
    for number in 0..<300 as Range<UInt64> {
      history.append(.put("p\(number)", number * 10, number * 10 + 5))
      history.append(.get(number == 150 ? "p148" : "p\(number)", number * 10 + 6, number * 10 + 8))
    }
    let counterexample = try #require(check(history).counterexample)
    #expect(counterexample.key == bytes("k"))
    #expect(counterexample.operations.count <= 6, "\(counterexample)")
    #expect(counterexample.description.contains("get = p148"))
  }
}
