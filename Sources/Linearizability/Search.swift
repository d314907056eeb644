// Owns the search for an order of one key's operations (Wing and Gong 1993, with Lowe's just-in-time linearization and
// memory of what was tried, 2017).
//
// The history is a list of invocations and answers by time. An operation whose invocation comes before the first answer
// in the list may be next; it is tried and taken out of the list with its answer. When an answer comes first, its
// operation should have been next and could not be: the newest choice is taken back. A set of operations that were
// taken with the state that they left is tried once only.
//
// Operations without an answer are invocations without an answer in the list: nothing demands that they are taken.

struct Search {
  enum Result: Equatable {
    case found
    /// `stuck` is the operation whose answer could not be explained, after the most that could be.
    case impossible(stuck: Int)
    case outOfSteps
  }

  /// What has been taken. All required operations before `first` are in it, so it stays small: `window` are those from
  /// there on, `optional` those that may never have happened.
  private struct Taken: Hashable {
    var first = 0
    var window: [UInt64] = []
    var optional: [UInt64] = []
    var register = Register()
  }

  private let operations: [KeyOperation]
  /// The position of each operation among the required, or among the optional ones.
  private let ranks: [Int]
  private let requiredCount: Int
  /// The list: node 2i is the invocation of operation i, 2i + 1 its answer, the last one the head.
  private var next: [Int]
  private var previous: [Int]
  private let head: Int
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
    requiredCount = counts.required
    head = operations.count * 2
    next = Array(repeating: -1, count: head + 1)
    previous = next
    var events: [(time: UInt64, isAnswer: Bool, node: Int)] = []
    for (place, operation) in operations.enumerated() {
      events.append((operation.invoked, false, place * 2))
      if !operation.isOptional { events.append((operation.returned, true, place * 2 + 1)) }
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

  mutating func run(maxSteps: Int) -> Result {
    var taken = Taken()
    var tried: Set<Taken> = []
    var choices: [(operation: Int, before: Taken)] = []
    var requiredLeft = requiredCount
    var best = (count: -1, stuck: -1)
    var node = next[head]
    while requiredLeft > 0 {
      steps += 1
      if steps > maxSteps { return .outOfSteps }
      precondition(node >= 0, "a required operation is in the list with its answer")
      let operation = node / 2
      if node % 2 == 0 {
        if let register = taken.register.after(operations[operation]) {
          let after = adding(operation, to: taken, register)
          if tried.insert(after).inserted {
            choices.append((operation, taken))
            taken = after
            take(operation)
            if !operations[operation].isOptional { requiredLeft -= 1 }
            node = next[head]
            continue
          }
        }
        node = next[node]
      } else {
        if choices.count > best.count { best = (choices.count, operation) }
        guard let choice = choices.popLast() else { return .impossible(stuck: best.stuck) }
        taken = choice.before
        putBack(choice.operation)
        if !operations[choice.operation].isOptional { requiredLeft += 1 }
        node = next[choice.operation * 2]
      }
    }
    return .found
  }

  private func adding(_ operation: Int, to taken: Taken, _ register: Register) -> Taken {
    var after = taken
    after.register = register
    if operations[operation].isOptional {
      after.optional.insertBit(ranks[operation])
      return after
    }
    after.window.insertBit(ranks[operation] - after.first)
    while after.window.first == .max {
      after.window.removeFirst()
      after.first += 64
    }
    return after
  }

  private mutating func take(_ operation: Int) {
    unlink(operation * 2)
    if !operations[operation].isOptional { unlink(operation * 2 + 1) }
  }

  private mutating func putBack(_ operation: Int) {
    if !operations[operation].isOptional { link(operation * 2 + 1) }
    link(operation * 2)
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
}
