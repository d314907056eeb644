// Owns who protects which scopes, and which raises a gateway has yet to confirm (fence before grant).
//
// Must never: count a raise as confirmed because a gateway is away. What it has not confirmed it may still let in; only its
// own word, or an operator's that it is gone for good, ends the waiting.
//
// Invariant: of a scope there is at most one raise to confirm for a gateway, the one to the newest number.

/// A gateway's name for ever.
package typealias GatewayName = Key

package struct GatewayRecord: Sendable {
  package let name: GatewayName
  /// Ascending.
  package internal(set) var scopes: [Key] = []
  /// Numbers whose raise is not confirmed.
  var unconfirmed = OrderedTree<Key, Revision>()

  package var unconfirmedCount: Int { unconfirmed.count }

  package func isUnconfirmed(_ scope: Key) -> Bool { unconfirmed[scope] != nil }

  package var raises: [(scope: Key, number: Revision)] {
    var all: [(Key, Revision)] = []
    unconfirmed.forEach { scope, number in
      all.append((scope, number)); return true
    }
    return all
  }
}

/// An operator's word that a gateway is gone, kept on record.
package struct RetiredGateway: Sendable, Equatable {
  package let name: GatewayName
  package let by: String
  package let reason: String

  package init(name: GatewayName, by: String, reason: String) {
    self.name = name
    self.by = by
    self.reason = reason
  }
}

package enum GatewayChange: Sendable, Equatable {
  /// The gateway protects these scopes, and no others.
  case register(GatewayName, scopes: [Key])
  case confirm(GatewayName, scope: Key, number: Revision)
  case retire(RetiredGateway)
}

package struct GatewayTable: Sendable {
  private(set) var gateways = OrderedTree<GatewayName, GatewayRecord>()
  /// By scope, ascending: derived.
  private var protecting = OrderedTree<Key, [GatewayName]>()
  /// Oldest first; bounded.
  package internal(set) var retired: [RetiredGateway] = []

  init() {}

  init(sorted: [GatewayRecord], retired: [RetiredGateway]) {
    for record in sorted { set(record) }
    self.retired = retired
  }

  package var isEmpty: Bool { gateways.count == 0 && retired.isEmpty }
  package var count: Int { gateways.count }

  package subscript(name: GatewayName) -> GatewayRecord? { gateways[name] }

  package var all: [GatewayRecord] {
    var all: [GatewayRecord] = []
    gateways.forEach { _, record in
      all.append(record); return true
    }
    return all
  }

  package func protects(_ scope: Key) -> Bool { protecting[scope] != nil }

  /// The gateways that may still let in what is older than the newest number of a scope.
  package func missing(for scope: Key) -> [GatewayName] {
    guard gateways.count > 0, let names = protecting[scope] else { return [] }
    return names.filter { gateways[$0]?.unconfirmed[scope] != nil }
  }

  mutating func raise(_ scope: Key, to number: Revision) {
    guard gateways.count > 0, let names = protecting[scope] else { return }
    for name in names {
      guard var record = gateways[name] else { continue }
      record.unconfirmed.updateValue(number, forKey: scope)
      gateways.updateValue(record, forKey: name)
    }
  }

  /// - Returns: whether it was the raise that was waited for.
  mutating func confirm(_ name: GatewayName, _ scope: Key, _ number: Revision) -> Bool {
    guard var record = gateways[name], record.unconfirmed[scope] == number else { return false }
    record.unconfirmed.removeValue(forKey: scope)
    gateways.updateValue(record, forKey: name)
    return true
  }

  mutating func set(_ record: GatewayRecord) {
    _ = remove(record.name)
    gateways.updateValue(record, forKey: record.name)
    for scope in record.scopes {
      protecting.updateValue(((protecting[scope] ?? []) + [record.name]).sorted(), forKey: scope)
    }
  }

  mutating func remove(_ name: GatewayName) -> GatewayRecord? {
    guard let record = gateways.removeValue(forKey: name) else { return nil }
    for scope in record.scopes {
      let rest = (protecting[scope] ?? []).filter { $0 != name }
      if rest.isEmpty { protecting.removeValue(forKey: scope) } else { protecting.updateValue(rest, forKey: scope) }
    }
    return record
  }
}

extension Coordination {
  mutating func change(_ change: GatewayChange, notices: inout [Notice]) throws(RequestError) -> Outcome {
    switch change {
    case .register(let name, let scopes): return try register(name, scopes, notices: &notices)
    case .confirm(let name, let scope, let number):
      guard gateways.confirm(name, scope, number) else { return .gatewayChanged(false) }
      noteConfirmed([scope], notices: &notices)
      return .gatewayChanged(true)
    case .retire(let retired):
      guard let record = gateways.remove(retired.name) else { return .gatewayChanged(false) }
      gateways.retired.append(retired)
      let surplus = gateways.retired.count - StateLimits.maxRetiredGateways
      if surplus > 0 { gateways.retired.removeFirst(surplus) }
      noteConfirmed(record.raises.map(\.scope), notices: &notices)
      return .gatewayChanged(true)
    }
  }

  /// A gateway that begins to protect a scope hears of the newest number of it, so that it refuses what is older from then
  /// on and not only from the next grant on.
  private mutating func register(
    _ name: GatewayName, _ scopes: [Key], notices: inout [Notice]
  ) throws(RequestError) -> Outcome {
    let before = gateways[name]
    guard before != nil || gateways.count < StateLimits.maxGateways, scopes.count <= StateLimits.maxScopesPerGateway
    else {
      throw .unknownChoice(
        "at most \(StateLimits.maxGateways) gateways may be registered, with at most \(StateLimits.maxScopesPerGateway)"
          + " scopes each")
    }
    var record = GatewayRecord(name: name)
    record.scopes = Set(scopes).sorted()
    for scope in record.scopes {
      if let number = before?.unconfirmed[scope] {
        record.unconfirmed.updateValue(number, forKey: scope)
      } else if before?.scopes.contains(scope) != true, let number = self.scopes[scope]?.lastNumber, number > 0 {
        record.unconfirmed.updateValue(number, forKey: scope)
      }
    }
    let dropped = before?.raises.map(\.scope).filter { !record.scopes.contains($0) } ?? []
    gateways.set(record)
    noteConfirmed(dropped, notices: &notices)
    return .gatewayChanged(true)
  }

  private func noteConfirmed(_ scopes: [Key], notices: inout [Notice]) {
    for scope in scopes where gateways.missing(for: scope).isEmpty {
      if let number = self.scopes[scope]?.lastNumber { notices.append(.confirmed(scope, number)) }
    }
  }
}
