// Good histories by construction, and the slowest way to tell a good one from a bad one.

import Linearizability

/// A small generator of its own, so that a failing test fails again.
struct Draw: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var value = state
    value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
    value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
    return value ^ (value >> 31)
  }

  mutating func below(_ bound: Int) -> Int { Int(next(upperBound: UInt64(bound))) }
}

func bytes(_ text: String) -> Bytes { Bytes(text.utf8) }

extension Operation {
  /// One operation of client 1 on the key k.
  static func one(
    _ action: Action, _ invoked: UInt64, _ returned: UInt64, _ outcome: Outcome, key: String = "k", client: UInt64 = 1
  ) -> Operation {
    Operation(
      client: client, key: bytes(key), action: action, invoked: invoked, returned: returned, outcome: outcome)
  }

  static func put(_ value: String, _ invoked: UInt64, _ returned: UInt64, at revision: Int64? = nil) -> Operation {
    one(.put(bytes(value)), invoked, returned, .ok(Observation(revision: revision)))
  }

  static func get(
    _ value: String?, _ invoked: UInt64, _ returned: UInt64, of mod: Int64? = nil, at revision: Int64? = nil
  ) -> Operation {
    one(
      .get, invoked, returned,
      .ok(Observation(value: value.map(bytes), modRevision: mod, revision: revision)))
  }
}

/// Operations that take effect on a simulated store at a random instant between invocation and answer.
struct HistoryMaker {
  struct Shape {
    var operations = 200
    var clients = 4
    var keys = 2
    /// In a hundred.
    var unknown = 5
    var failed = 5
    var values = Int.max
    var hasRevisions = true
  }

  var draw: Draw
  let shape: Shape
  private var store: [Bytes: (value: Bytes, mod: Int64)] = [:]
  private var revision: Int64 = 1

  init(seed: UInt64, shape: Shape) {
    draw = Draw(state: seed)
    self.shape = shape
  }

  mutating func make() -> [Operation] {
    var clocks = [UInt64](repeating: 0, count: shape.clients)
    var planned: [(point: UInt64, operation: Operation)] = []
    for number in 0..<shape.operations {
      let client = number % shape.clients
      let invoked = clocks[client] + UInt64(draw.below(5))
      var point = invoked + UInt64(draw.below(8))
      let returned = point + UInt64(draw.below(8))
      clocks[client] = returned + 1
      let value = bytes("v\(number % shape.values)")
      var operation = Operation.one(
        action(value), invoked, returned, .failed, key: "key\(draw.below(shape.keys))", client: UInt64(client))
      let luck = draw.below(100)
      if luck < shape.unknown {
        operation.outcome = .unknown
        point += UInt64(draw.below(100))
      } else if luck >= shape.unknown + shape.failed {
        operation.outcome = .ok(Observation())
      }
      planned.append((point, operation))
    }
    planned.sort { $0.point < $1.point }
    return planned.map { execute($0.operation) }
  }

  private mutating func action(_ value: Bytes) -> Operation.Action {
    switch draw.below(10) {
    case 0..<4: .get
    case 4..<7: .put(value)
    case 7: .delete
    default: .compareAndSwap(.modRevision(0), value)
    }
  }

  private mutating func execute(_ planned: Operation) -> Operation {
    var operation = planned
    let current = store[operation.key]
    if case .compareAndSwap(_, let value) = operation.action {
      operation.action = .compareAndSwap(expectation(current), value)
    }
    guard operation.outcome != .failed, operation.outcome != .unknown || draw.below(2) == 0 else { return operation }
    var seen = Observation(revision: revision)
    switch operation.action {
    case .get: seen = Observation(value: current?.value, modRevision: current?.mod, revision: revision)
    case .put(let value): write(operation.key, value)
    case .delete:
      seen.changed = current != nil
      if seen.changed { write(operation.key, nil) }
    case .compareAndSwap(.modRevision(let wanted), let value):
      seen.changed = wanted == current?.mod ?? 0
      if seen.changed { write(operation.key, value) }
    case .compareAndSwap(.value(let wanted), let value):
      seen.changed = wanted == current?.value
      if seen.changed { write(operation.key, value) }
    }
    seen.revision = revision
    if !shape.hasRevisions {
      seen.revision = nil
      if draw.below(2) == 0 { seen.modRevision = nil }
    }
    if operation.outcome != .unknown { operation.outcome = .ok(seen) }
    return operation
  }

  private mutating func expectation(_ current: (value: Bytes, mod: Int64)?) -> Operation.Expectation {
    switch draw.below(4) {
    case 0: .modRevision(current?.mod ?? 0)
    case 1: .value(current?.value ?? bytes("none"))
    case 2: .modRevision(Int64(draw.below(Int(revision) + 1)))
    default: .value(bytes("v\(draw.below(min(shape.values, 50)))"))
    }
  }

  private mutating func write(_ key: Bytes, _ value: Bytes?) {
    revision += 1
    store[key] = value.map { ($0, revision) }
  }
}

/// Tries every order of the operations of one key, with every revision that a write without one could have had.
struct BruteForce {
  private struct State {
    var value: Bytes?
    var mod: Int64 = 0
    var last: Int64 = 0
  }

  private let operations: [Operation]
  private let highest: Int64

  init(_ history: [Operation]) {
    operations = history.filter { $0.outcome != .failed }
    var known: Int64 = 1
    for operation in operations {
      known = max(known, operation.observation?.revision ?? 0, operation.observation?.modRevision ?? 0)
      if case .compareAndSwap(.modRevision(let wanted), _) = operation.action { known = max(known, wanted) }
    }
    highest = known + Int64(operations.count) + 1
  }

  var isLinearizable: Bool { explains([], State()) }

  private func explains(_ done: Set<Int>, _ state: State) -> Bool {
    let left = operations.indices.filter { !done.contains($0) }
    let required = left.filter { operations[$0].observation != nil }
    if required.isEmpty { return true }
    for candidate in left {
      let isNext = required.allSatisfy {
        $0 == candidate || !(operations[$0].returned < operations[candidate].invoked)
      }
      guard isNext else { continue }
      for after in outcomes(of: operations[candidate], state) where explains(done.union([candidate]), after) {
        return true
      }
    }
    return false
  }

  private func outcomes(of operation: Operation, _ state: State) -> [State] {
    let told = operation.observation
    switch operation.action {
    case .get:
      guard let told else { return [state] }
      guard told.value == state.value else { return [] }
      if let mod = told.modRevision, state.value != nil, mod != state.mod { return [] }
      return [state]
    case .put(let value): return written(value, state, told?.revision)
    case .delete:
      if let told, told.changed != (state.value != nil) { return [] }
      return state.value == nil ? [state] : written(nil, state, told?.revision)
    case .compareAndSwap(let expected, let value):
      let holds =
        switch expected {
        case .modRevision(let wanted): wanted == (state.value == nil ? 0 : state.mod)
        case .value(let wanted): wanted == state.value
        }
      if let told, told.changed != holds { return [] }
      return holds ? written(value, state, told?.revision) : [state]
    }
  }

  private func written(_ value: Bytes?, _ state: State, _ revision: Int64?) -> [State] {
    if let revision {
      return revision > state.last ? [State(value: value, mod: revision, last: revision)] : []
    }
    guard state.last < highest else { return [] }
    return ((state.last + 1)...highest).map { State(value: value, mod: $0, last: $0) }
  }
}
