// What the commands that show things print: the same facts as a table and as JSON.

package import Client
import Foundation

/// A grant, as JSON has it.
package struct ListedGrant: Encodable {
  let scope: String
  let number: Int64
  let mode: Grant.Mode
  let holder: String
  /// In hexadecimal, as etcdctl writes leases.
  let session: String
  let timeLeftMs: Int64
  let barrier: Grant.Barrier
  let value: TextOrBytes?

  package init(_ grant: Grant) {
    scope = grant.scope
    number = grant.number
    mode = grant.mode
    holder = grant.holder
    session = SessionID.text(grant.session)
    timeLeftMs = Milliseconds.of(grant.timeLeft)
    barrier = grant.barrier
    value = grant.value.isEmpty ? nil : TextOrBytes(grant.value)
  }

  package static func table(_ grants: [Grant]) -> String {
    var table = TextTable("SCOPE", "NUMBER", "MODE", "HOLDER", "SESSION", "TIME LEFT", "BARRIER", "VALUE")
    for grant in grants {
      table.add(
        grant.scope, "\(grant.number)", grant.mode.rawValue, grant.holder, SessionID.text(grant.session),
        TerminalText.length(grant.timeLeft), grant.barrier.rawValue, TextOrBytes.shown(grant.value))
    }
    return table.text
  }
}

/// A scope, as JSON has it.
package struct ListedScope: Encodable {
  let scope: String
  let lastNumber: Int64
  let holder: ListedGrant?
  let sharers: Int64
  let waiting: Int64
  let closedMs: Int64

  package init(_ scope: ScopeSummary) {
    self.scope = scope.scope
    lastNumber = scope.lastNumber
    holder = scope.holder.map(ListedGrant.init)
    sharers = scope.sharers
    waiting = scope.waiting
    closedMs = Milliseconds.of(scope.closed)
  }

  package static func table(_ scopes: [ScopeSummary]) -> String {
    var table = TextTable("SCOPE", "LAST NUMBER", "HELD BY", "WAITING", "CLOSED FOR")
    for scope in scopes {
      let holder = scope.holder?.holder ?? (scope.sharers > 0 ? "\(scope.sharers) sharing" : "")
      let closed = scope.closed > .zero ? TerminalText.length(scope.closed) : ""
      table.add(scope.scope, "\(scope.lastNumber)", holder, "\(scope.waiting)", closed)
    }
    return table.text
  }
}

/// One scope with all that is known of it.
package struct DescribedScope: Encodable {
  let scope: String
  let lastNumber: Int64
  let revision: Int64
  let grants: [ListedGrant]
  let waiting: [String]
  let closedMs: Int64

  package init(_ scope: String, _ description: ScopeDescription) {
    self.scope = scope
    lastNumber = description.lastNumber
    revision = description.revision
    grants = description.holders.map(ListedGrant.init)
    waiting = description.waiting
    closedMs = Milliseconds.of(description.closed)
  }
}

extension ScopeDescription {
  /// The one that holds it, or those that share it.
  package var holders: [Grant] { (grant.map { [$0] } ?? []) + sharers }
}

/// A session, as JSON has it.
package struct ListedSession: Encodable {
  let id: String
  let holder: String
  let timeToLiveMs: Int64
  let timeLeftMs: Int64
  let grants: Int64
  let waits: Int64

  package init(_ session: SessionSummary) {
    id = SessionID.text(session.id)
    holder = session.holder
    timeToLiveMs = Milliseconds.of(session.timeToLive)
    timeLeftMs = Milliseconds.of(session.timeLeft)
    grants = session.grants
    waits = session.waits
  }

  package static func table(_ sessions: [SessionSummary]) -> String {
    var table = TextTable("SESSION", "HOLDER", "TTL", "TIME LEFT", "GRANTS", "WAITS")
    for session in sessions {
      table.add(
        SessionID.text(session.id), session.holder, TerminalText.length(session.timeToLive),
        TerminalText.length(session.timeLeft), "\(session.grants)", "\(session.waits)")
    }
    return table.text
  }
}

/// One session with what it holds.
package struct DescribedSession: Encodable {
  let session: ListedSession
  let holds: [ListedGrant]
  let waitingFor: [String]

  package init(_ found: (session: SessionSummary, grants: [Grant], waitingFor: [String])) {
    session = ListedSession(found.session)
    holds = found.grants.map(ListedGrant.init)
    waitingFor = found.waitingFor
  }
}

/// A gateway, as JSON has it.
package struct ListedGateway: Encodable {
  let gateway: String
  let scopes: [String]
  let isConnected: Bool
  let unconfirmed: Int64
  let deregisteredBy: String?
  let reason: String?

  package init(_ gateway: GatewaySummary) {
    self.gateway = gateway.gateway
    scopes = gateway.scopes
    isConnected = gateway.isConnected
    unconfirmed = gateway.unconfirmed
    deregisteredBy = gateway.deregistration?.by
    reason = gateway.deregistration?.reason
  }

  package static func table(_ gateways: [GatewaySummary]) -> String {
    var table = TextTable("GATEWAY", "STATE", "UNCONFIRMED", "SCOPES")
    for gateway in gateways {
      var state = gateway.isConnected ? "connected" : "away, or at another node"
      if let gone = gateway.deregistration {
        state = "deregistered" + (gone.by.isEmpty ? "" : " by \(gone.by)") + ": \(gone.reason)"
      }
      table.add(gateway.gateway, state, "\(gateway.unconfirmed)", gateway.scopes.joined(separator: ","))
    }
    return table.text
  }
}

/// The leader of an election, as JSON has it.
package struct ListedLeadership: Encodable {
  let scope: String
  let revision: Int64
  let lastNumber: Int64
  let leader: ListedGrant?

  package init(_ scope: String, _ leadership: Leadership) {
    self.scope = scope
    revision = leadership.revision
    lastNumber = leadership.lastNumber
    leader = leadership.leader.map(ListedGrant.init)
  }

  /// One line for people.
  package static func line(_ scope: String, _ leadership: Leadership) -> String {
    guard let leader = leadership.leader else {
      return "\(TerminalText.clean(scope)): nobody leads; the last number was \(leadership.lastNumber)"
    }
    let value = leader.value.isEmpty ? "" : ", \(TextOrBytes.shown(leader.value))"
    return
      "\(TerminalText.clean(scope)): \(TerminalText.clean(leader.holder)) leads under number \(leader.number)\(value)"
  }
}

/// How sessions are written: as etcdctl writes leases, so that one finds the other.
package enum SessionID {
  package static func text(_ id: Int64) -> String { String(UInt64(bitPattern: id), radix: 16) }
  package static func parse(_ text: String) -> Int64? { UInt64(text, radix: 16).map { Int64(bitPattern: $0) } }
}

enum Milliseconds {
  static func of(_ duration: Duration) -> Int64 {
    duration.components.seconds * 1000 + duration.components.attoseconds / 1_000_000_000_000_000
  }
}
