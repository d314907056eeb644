// Owns the search for an order of one key's operations (Wing and Gong 1993, with Lowe's just-in-time linearization and
// memory of what was tried, 2017).
//
// The history is a list of invocations and answers by time. An operation whose invocation comes before the first answer
// in the list may be next; it is tried and taken out of the list with its answer. When an answer comes first, its
// operation should have been next and could not be: the newest choice is taken back. A set of operations that were
// taken with the state that they left is tried once only.
//
// Operations without an answer are tried when nothing else can be next, and only for the sake of one that could not be
// next before: in any other case the order without it leaves as much open. For the same reason it is enough to have
// tried a set and its state with fewer of them.

struct Search {
  enum Result: Equatable {
    case found
    /// `stuck` is the operation whose answer could not be explained, after the most that could be.
    case impossible(stuck: Int)
    case outOfSteps
  }

  /// What has been taken of the required operations, and what that left. All before `first` are in it, so it is small.
  private struct Taken: Hashable {
    var first = 0
    var window: [UInt64] = []
    var register = Register()
  }

  private struct Choice {
    let operation: Int
    let before: Taken
    /// Where the search stood.
    let node: Int
    let optional: Int
  }

  private let operations: [KeyOperation]
  /// The position of each operation among the required, or among the optional ones.
  private let ranks: [Int]
  /// Those that may never have happened, by invocation.
  private let optionals: [Int]
  /// For an optional operation, the one before it that would do the same: whichever of them happened, it may as well
  /// have been the one that began first.
  private let alike: [Int?]
  /// The list of what is required: node 2i is the invocation of operation i, 2i + 1 its answer, the last one the head.
  private var next: [Int]
  private var previous: [Int]
  private let head: Int

  private var taken = Taken()
  private var takenOptionals: [UInt64] = []
  private var choices: [Choice] = []
  /// What was tried, each with the sets of optional operations that had been taken.
  private var tried: [Taken: [[UInt64]]] = [:]
  private(set) var steps = 0

  /// - Parameter operations: by invocation.
  init(_ operations: [KeyOperation]) {
    self.operations = operations
    var ranks: [Int] = []
    var counts = (required: 0, optional: 0)
    for operation in operations {
      ranks.append(operation.isOptional ? counts.optional : counts.required)
      if operation.isOptional { counts.optional += 1 } else { counts.required += 1 }
    }
    self.ranks = ranks
    optionals = operations.indices.filter { operations[$0].isOptional }
    alike = Self.alike(operations)
    head = operations.count * 2
    next = Array(repeating: -1, count: head + 1)
    previous = next
    var events: [(time: UInt64, isAnswer: Bool, node: Int)] = []
    for (place, operation) in operations.enumerated() where !operation.isOptional {
      events.append((operation.invoked, false, place * 2))
      events.append((operation.returned, true, place * 2 + 1))
    }
    // At one instant invocations come first: only what answered strictly before another began is before it.
    events.sort { ($0.time, $0.isAnswer ? 1 : 0, $0.node) < ($1.time, $1.isAnswer ? 1 : 0, $1.node) }
    var last = head
    for event in events {
      next[last] = event.node
      previous[event.node] = last
      last = event.node
    }
  }

  private static func alike(_ operations: [KeyOperation]) -> [Int?] {
    var last: [Int: Int] = [:]
    return operations.enumerated().map { place, operation in
      guard operation.isOptional, let written = operation.written else { return nil }
      if case .compareAndSwap = operation.action { return nil }
      defer { last[written] = place }
      return last[written]
    }
  }

  mutating func run(maxSteps: Int) -> Result {
    var best = (count: -1, stuck: -1)
    var node = next[head]
    var optional = 0
    // A list that is not empty has an answer in it.
    while node >= 0 {
      steps += 1
      if steps > maxSteps { return .outOfSteps }
      let operation = node / 2
      if node % 2 == 0 {
        if choose(operation, at: node, optional) {
          (node, optional) = (next[head], 0)
        } else {
          node = next[node]
        }
      } else if optional < optionals.count, operations[optionals[optional]].invoked <= operations[operation].returned {
        if choose(optionals[optional], at: node, optional) {
          (node, optional) = (next[head], 0)
        } else {
          optional += 1
        }
      } else {
        if choices.count > best.count { best = (choices.count, operation) }
        guard let choice = choices.popLast() else { return .impossible(stuck: best.stuck) }
        takeBack(choice)
        let isOptional = operations[choice.operation].isOptional
        (node, optional) = isOptional ? (choice.node, choice.optional + 1) : (next[choice.node], 0)
      }
    }
    return .found
  }

  /// Takes an operation as the next, if it can be and that was not tried.
  private mutating func choose(_ operation: Int, at node: Int, _ optional: Int) -> Bool {
    let chosen = operations[operation]
    if chosen.isOptional, takenOptionals.hasBit(ranks[operation]) { return false }
    if let before = alike[operation], !takenOptionals.hasBit(ranks[before]) { return false }
    guard let register = taken.register.after(chosen) else { return false }
    if chosen.isOptional, register == taken.register { return false }
    if let last = choices.last, operations[last.operation].isOptional, isNeedless(last, chosen, register) {
      return false
    }
    var after = taken
    after.register = register
    var optionalsAfter = takenOptionals
    if chosen.isOptional {
      optionalsAfter.insertBit(ranks[operation])
    } else {
      after.window.insertBit(ranks[operation] - after.first)
      while after.window.first == .max {
        after.window.removeFirst()
        after.first += 64
      }
    }
    let earlier = tried[after] ?? []
    if earlier.contains(where: optionalsAfter.contains) { return false }
    tried[after] = earlier.filter { !$0.contains(optionalsAfter) } + [optionalsAfter]
    choices.append(Choice(operation: operation, before: taken, node: node, optional: optional))
    taken = after
    takenOptionals = optionalsAfter
    if !chosen.isOptional {
      unlink(operation * 2)
      unlink(operation * 2 + 1)
    }
    return true
  }

  /// Whether as much is left open when an optional operation comes after the one behind it, or not at all. That both
  /// orders are possible is not enough: a comparison that failed tells what a revision was not.
  private func isNeedless(_ optional: Choice, _ next: KeyOperation, _ register: Register) -> Bool {
    guard let without = optional.before.register.after(next) else { return false }
    if without.allows(register) { return true }
    return without.after(operations[optional.operation])?.allows(register) ?? false
  }

  private mutating func takeBack(_ choice: Choice) {
    taken = choice.before
    if operations[choice.operation].isOptional {
      takenOptionals.removeBit(ranks[choice.operation])
    } else {
      link(choice.operation * 2 + 1)
      link(choice.operation * 2)
    }
  }

  private mutating func unlink(_ node: Int) {
    next[previous[node]] = next[node]
    if next[node] >= 0 { previous[next[node]] = previous[node] }
  }

  /// Undoes the newest `unlink` that has not been undone.
  private mutating func link(_ node: Int) {
    next[previous[node]] = node
    if next[node] >= 0 { previous[next[node]] = node }
  }
}

extension Array<UInt64> {
  fileprivate mutating func insertBit(_ position: Int) {
    while count <= position / 64 { append(0) }
    self[position / 64] |= 1 << UInt64(position % 64)
  }

  /// Leaves no empty words at the end, so that equal sets are equal arrays.
  fileprivate mutating func removeBit(_ position: Int) {
    self[position / 64] &= ~(1 << UInt64(position % 64))
    while last == 0 { removeLast() }
  }

  fileprivate func hasBit(_ position: Int) -> Bool {
    position / 64 < count && self[position / 64] & (1 << UInt64(position % 64)) != 0
  }

  /// Whether every bit of another set is in this one.
  fileprivate func contains(_ other: [UInt64]) -> Bool {
    guard other.count <= count else { return false }
    for (place, word) in other.enumerated() where word & ~self[place] != 0 { return false }
    return true
  }
}
