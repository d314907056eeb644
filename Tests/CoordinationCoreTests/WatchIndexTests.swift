import CoordinationCore
import Testing

@Suite("The index of watchers")
struct WatchIndexTests {
  /// A generator of its own, so that a failure is one seed to replay.
  private struct Chance: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return (state >> 33) | (state << 31)
    }
  }

  private static func key(_ chance: inout Chance) -> Key {
    Key((0..<Int.random(in: 1...3, using: &chance)).map { _ in UInt8.random(in: 97...102, using: &chance) })
  }

  private static func range(_ chance: inout Chance) -> KeyRange {
    let start = key(&chance)
    switch Int.random(in: 0..<6, using: &chance) {
    case 0, 1: return KeyRange(start: start, end: .single)
    case 2: return KeyRange(prefix: start.bytes)
    case 3: return KeyRange(start: start, end: .unbounded)
    // Some of these are empty, or the wrong way round.
    default: return KeyRange(start: start, end: .before(key(&chance)))
    }
  }

  private static func found(_ index: WatchIndex, _ key: Key) -> [WatcherID] {
    var ids: [WatcherID] = []
    index.forEachWatcher(of: key) { ids.append($0) }
    return ids
  }

  @Test("finds exactly those whose range holds the key, however they come and go", arguments: 1...20)
  func againstModel(seed: UInt64) {
    var chance = Chance(state: seed)
    var index = WatchIndex()
    var model: [WatcherID: KeyRange] = [:]
    var next: UInt64 = 1
    for _ in 0..<2000 {
      if model.count > 60 || (!model.isEmpty && Int.random(in: 0..<3, using: &chance) == 0) {
        let ids = model.keys.sorted()
        let id = ids[Int.random(in: 0..<ids.count, using: &chance)]
        if let range = model.removeValue(forKey: id) { index.remove(id, range: range) }
      } else {
        // Now and then one that is lower than those before: a stream's watchers have ids of their clients' choosing.
        let id = WatcherID(Bool.random(using: &chance) ? next : 1_000_000 - next)
        next += 1
        let range = Self.range(&chance)
        index.insert(id, range: range)
        model[id] = range
      }
      let key = Self.key(&chance)
      let found = Self.found(index, key)
      #expect(Set(found).count == found.count, "none twice")
      #expect(Set(found) == Set(model.filter { $0.value.contains(key) }.keys))
    }
    for (id, range) in model { index.remove(id, range: range) }
    #expect(index.isEmpty)
  }

  @Test("a change costs as little among 20,000 watchers of other ranges as among 200")
  func cost() {
    func seconds(watchers: Int) -> Double {
      var index = WatchIndex()
      for number in 0..<watchers {
        index.insert(WatcherID(UInt64(number + 1)), range: KeyRange(prefix: Array("/\(number % 100)/\(number)/".utf8)))
      }
      let keys = (0..<500).map { Key(Array("/\($0 % 100)/\($0 % watchers)/key".utf8)) }
      var best = Double.infinity
      for _ in 0..<5 {
        var hits = 0
        let clock = ContinuousClock()
        let time = clock.measure { for key in keys { index.forEachWatcher(of: key) { _ in hits += 1 } } }
        #expect(hits == keys.count)
        best = min(best, Double(time.components.attoseconds) / 1e18 + Double(time.components.seconds))
      }
      return best
    }
    let (few, many) = (seconds(watchers: 200), seconds(watchers: 20_000))
    // A hundred times the watchers: a search over all of them would take a hundred times as long.
    #expect(many < 20 * few, "\(few) s among 200, \(many) s among 20,000")
  }
}
