// The checker by replay: what it must accept, what it must refuse, and that what it accepts is linearizable.

import Linearizability
import Testing

private let anyLength = CheckLimits(minimumOperations: 0)

private func check(_ history: [Operation]) -> Verdict { ReplayChecker(limits: anyLength).check(history) }

@Suite("Replay in revision order")
struct ReplayTests {
  @Test("accepts what a store did, whatever overlapped and whatever was not answered", arguments: 1...40)
  func good(seed: UInt64) {
    for round in 0..<25 as Range<UInt64> {
      var shape = HistoryMaker.Shape()
      shape.clients = [1, 3, 8][Int(round % 3)]
      shape.keys = [1, 2, 5][Int(seed % 3)]
      shape.unknown = [0, 4, 20][Int(round / 3 % 3)]
      if seed.isMultiple(of: 4) { shape.values = 4 }
      var maker = HistoryMaker(seed: seed * 1000 + round, shape: shape)
      let verdict = check(maker.make())
      #expect(verdict.isConsistent, "\(verdict)")
    }
  }

  @Test("what it accepts of histories with one thing changed, the search accepts too", arguments: 1...20)
  func agrees(seed: UInt64) {
    var draw = Draw(state: seed)
    var refused = 0
    for round in 0..<100 as Range<UInt64> {
      var shape = HistoryMaker.Shape()
      shape.operations = 30
      shape.clients = 3
      shape.unknown = 0
      shape.values = 5
      var maker = HistoryMaker(seed: seed * 1000 + round, shape: shape)
      var history = maker.make()
      let place = draw.below(history.count)
      guard var told = history[place].observation else { continue }
      switch draw.below(4) {
      case 0: told.value = bytes("v\(draw.below(5))")
      case 1: told.changed.toggle()
      case 2: told.revision = told.revision.map { $0 + Int64(draw.below(5)) - 2 }
      default: told.modRevision = told.modRevision.map { $0 + Int64(draw.below(5)) - 2 }
      }
      history[place].outcome = .ok(told)
      if check(history).isConsistent {
        #expect(LinearizabilityChecker(limits: anyLength).check(history).isConsistent)
      } else {
        refused += 1
      }
    }
    #expect(refused > 20)
  }

  private func rule(_ history: [Operation]) -> String? { check(history).counterexample?.rule }

  @Test("two writes at one revision are refused, also of two keys")
  func twice() {
    var other = Operation.put("b", 2, 3, at: 2)
    other.key = bytes("other")
    #expect(rule([.put("a", 0, 1, at: 2), other])?.contains("two writes") == true)
  }

  @Test("a write below what was known before it began, and a read older than that, are refused across keys")
  func time() {
    var other = Operation.put("b", 2, 3, at: 2)
    other.key = bytes("other")
    #expect(rule([.put("a", 0, 1, at: 3), other])?.contains("known before") == true)
    var stale = Operation.get(nil, 4, 5, at: 2)
    stale.key = bytes("third")
    #expect(rule([.put("a", 0, 1, at: 2), .put("b", 2, 3, at: 3), stale])?.contains("older") == true)
    stale.invoked = 1
    #expect(check([.put("a", 0, 1, at: 2), .put("b", 2, 3, at: 3), stale]).isConsistent)
  }

  @Test("a read sees exactly what the writes up to its revision left")
  func reads() {
    let writes: [Operation] = [.put("a", 0, 1, at: 2), .put("b", 2, 3, at: 3)]
    #expect(check(writes + [.get("b", 4, 5, of: 3, at: 3)]).isConsistent)
    #expect(rule(writes + [.get("a", 4, 5, of: 2, at: 3)]) != nil)
    #expect(rule(writes + [.get("b", 4, 5, of: 2, at: 3)]) != nil)
    #expect(rule(writes + [.get(nil, 4, 5, at: 3)]) != nil)
    #expect(rule(writes + [.get("x", 4, 5, of: 3, at: 3)]) != nil)
    #expect(rule([writes[0], .one(.delete, 2, 3, .ok(Observation(changed: false, revision: 2)))]) != nil)
    #expect(rule([writes[0], .one(.delete, 2, 3, .ok(Observation(changed: true, revision: 3)))]) == nil)
  }

  @Test("a compare-and-swap succeeds if and only if the key was as it demands just before")
  func swaps() {
    func swap(_ expected: Operation.Expectation, _ changed: Bool) -> [Operation] {
      let told = Observation(changed: changed, revision: changed ? 3 : 2)
      return [.put("a", 0, 1, at: 2), .one(.compareAndSwap(expected, bytes("b")), 2, 3, .ok(told))]
    }
    for (expected, holds) in [
      (.modRevision(2), true), (.modRevision(0), false), (.modRevision(1), false), (.value(bytes("a")), true),
      (.value(bytes("x")), false),
    ] as [(Operation.Expectation, Bool)] {
      #expect(check(swap(expected, holds)).isConsistent)
      #expect(rule(swap(expected, !holds)) != nil)
    }
  }

  @Test("a missing revision needs a write without an answer, of which each makes one at most")
  func gaps() {
    let history: [Operation] = [.put("a", 0, 1, at: 2), .put("b", 2, 3, at: 4)]
    let open = Operation.one(.put(bytes("u")), 0, 0, .unknown)
    #expect(rule(history)?.contains("missing") == true)
    #expect(ReplayChecker(limits: anyLength, othersWrite: true).check(history).isConsistent)
    #expect(check(history + [open]).isConsistent)
    #expect(rule([.put("a", 0, 1, at: 2), .put("b", 2, 3, at: 5), open])?.contains("missing") == true)
    let failed = Operation.one(.put(bytes("u")), 0, 0, .failed)
    #expect(rule(history + [failed]) != nil)
  }

  @Test("what a get saw at a missing revision binds it to one write of that key and value, begun by then")
  func binding() {
    let open = Operation.one(.put(bytes("u")), 2, 3, .unknown)
    let before: [Operation] = [.put("a", 0, 1, at: 2), open]
    #expect(check(before + [.get("u", 4, 5, of: 3, at: 3)]).isConsistent)
    #expect(rule(before + [.get("x", 4, 5, of: 3, at: 3)]) != nil)
    #expect(rule(before + [.get("u", 4, 5, of: 3, at: 3), .get("u", 6, 7, of: 4, at: 4)]) != nil)
    #expect(rule(before + [.get("u", 4, 5, of: 3, at: 3), .get("a", 6, 7, of: 2, at: 3)]) != nil)
    #expect(rule([.put("a", 0, 1, at: 2), .get("u", 1, 2, of: 3, at: 3), .one(open.action, 4, 5, .unknown)]) != nil)
    #expect(rule([.put("a", 0, 1, at: 4), .one(open.action, 2, 3, .unknown), .get("u", 4, 5, of: 3, at: 4)]) != nil)
  }

  @Test("a read without the revision of what it saw may be explained by an unknown write, if a revision is free")
  func looseBinding() {
    let open = Operation.one(.put(bytes("u")), 1, 1, .unknown)
    #expect(check([.put("a", 0, 1, at: 2), open, .get("u", 4, 5, at: 3)]).isConsistent)
    #expect(rule([.put("a", 0, 1, at: 2), open, .get("u", 4, 5, at: 2)]) != nil)
  }

  @Test("too short a history is void, and out of steps is undecided")
  func limits() {
    let history: [Operation] = [.put("a", 0, 1, at: 2), .get("a", 2, 3)]
    #expect(
      ReplayChecker(limits: CheckLimits(minimumOperations: 2)).check(history) == .tooFew(operations: 1, needed: 2))
    let short = CheckLimits(minimumOperations: 0, stepsPerKey: 1)
    #expect(ReplayChecker(limits: short).check(history) == .undecided(key: bytes("k"), steps: 1))
  }
}
