// Owns the operations of one key as the search wants them: values as numbers, what failed left out, what has no answer
// marked as optional.

struct KeyOperation: Sendable {
  enum Action: Sendable {
    case get
    case put(Int)
    case delete
    case compareAndSwap(Expectation, Int)
  }

  enum Expectation: Sendable {
    case modRevision(Int64)
    case value(Int)
  }

  let action: Action
  let invoked: UInt64
  let returned: UInt64
  /// It may never have happened.
  let isOptional: Bool
  /// The value that a get saw, 0 for none.
  let seen: Int?
  let modRevision: Int64?
  let changed: Bool?
  /// The revision that it made, if it is known to have made one.
  let writtenRevision: Int64?
  /// Its place among the operations that were handed in.
  let origin: Int

  /// The value that it may have written, 0 for a deletion.
  var written: Int? {
    switch action {
    case .get: nil
    case .put(let value), .compareAndSwap(_, let value): value
    case .delete: 0
    }
  }
}

/// Numbers for values. All that no get saw and no compare-and-swap asked for are one: nothing can tell them apart.
struct ValueNumbers {
  private static let unseen = 1

  private var numbers: [Bytes: Int] = [:]

  init(_ operations: [Operation]) {
    for operation in operations where operation.outcome != .failed {
      if case .get = operation.action, let value = operation.observation?.value { see(value) }
      if case .compareAndSwap(.value(let value), _) = operation.action { see(value) }
    }
  }

  private mutating func see(_ value: Bytes) {
    if numbers[value] == nil { numbers[value] = Self.unseen + 1 + numbers.count }
  }

  func number(_ value: Bytes) -> Int { numbers[value] ?? Self.unseen }
}

extension KeyOperation {
  init?(_ operation: Operation, origin: Int, numbers: ValueNumbers) {
    guard operation.outcome != .failed else { return nil }
    switch operation.action {
    case .get: action = .get
    case .put(let value): action = .put(numbers.number(value))
    case .delete: action = .delete
    case .compareAndSwap(.modRevision(let revision), let value):
      action = .compareAndSwap(.modRevision(revision), numbers.number(value))
    case .compareAndSwap(.value(let old), let value):
      action = .compareAndSwap(.value(numbers.number(old)), numbers.number(value))
    }
    let observation = operation.observation
    // A get without an answer saw nothing and changed nothing.
    if operation.action == .get, observation == nil { return nil }
    invoked = operation.invoked
    returned = observation == nil ? .max : operation.returned
    isOptional = observation == nil
    seen = operation.action == .get ? observation.map { $0.value.map { numbers.number($0) } ?? 0 } : nil
    modRevision = observation?.modRevision
    changed = observation?.changed
    writtenRevision = operation.hasWritten ? observation?.revision : nil
    self.origin = origin
  }

  /// The operations of one key, by invocation.
  static func all(of operations: [Operation]) -> [KeyOperation] {
    let numbers = ValueNumbers(operations)
    var all: [KeyOperation] = []
    for (origin, operation) in operations.enumerated() {
      if let one = KeyOperation(operation, origin: origin, numbers: numbers) { all.append(one) }
    }
    return withoutUnseen(all.sorted { ($0.invoked, $0.origin) < ($1.invoked, $1.origin) })
  }

  /// Leaves out writes without an answer whose value nobody saw: if there is an order with them, there is one without,
  /// and each would double the search. That holds where nothing but gets can notice a value.
  private static func withoutUnseen(_ operations: [KeyOperation]) -> [KeyOperation] {
    var seen: Set<Int> = []
    for operation in operations {
      switch operation.action {
      case .get: seen.insert(operation.seen ?? 0)
      case .put: break
      case .delete: if !operation.isOptional { return operations }
      case .compareAndSwap: return operations
      }
    }
    return operations.filter { !$0.isOptional || seen.contains($0.written ?? 0) }
  }
}
