// A state that a test drives with commands, as the log would.

import CoordinationCore
import Testing

struct Machine {
  var state = Coordination()
  var index: UInt64 = 0
  var clock: UInt64 = 1000

  @discardableResult
  mutating func apply(_ command: Command) -> Applied {
    index += 1
    return state.apply(command, index: index, clockMilliseconds: clock)
  }

  mutating func put(_ key: String, _ value: String, lease: LeaseID = 0) {
    var request = PutRequest(key: Key(Bytes(key.utf8)), value: Bytes(value.utf8))
    request.lease = lease
    apply(.put(request))
  }

  mutating func delete(_ range: KeyRange) { apply(.delete(DeleteRequest(range: range, wantsPrevious: false))) }

  mutating func acquire(
    _ scope: String, by holder: String, lease: LeaseID, ttl: Int64 = 0, waits: Bool = false
  ) -> Applied {
    apply(
      .acquire(
        AcquireRequest(scope: .init(scope), holder: holder, lease: lease, ttlMilliseconds: ttl, waits: waits)))
  }

  func get(_ key: String) -> String? {
    state.store.current(.init(key)).map { String(decoding: $0.value, as: UTF8.self) }
  }

  func holder(_ scope: String) -> String? { state.scopes[.init(scope)]?.holder?.holder }
}

extension Key {
  init(_ text: String) { self.init(Bytes(text.utf8)) }
}

extension Applied {
  var grant: GrantRecord? {
    if case .granted(let record) = outcome { return record }
    return nil
  }

  var error: RequestError? {
    if case .failed(let error) = outcome { return error }
    return nil
  }
}

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
}
