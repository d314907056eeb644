// Owns the bytes of a whole state: what snapshots hold, and what nodes compare by `digest`.
//
// Must never: hold more of those bytes than one piece and one record, or depend on anything but the state. The same
// state gives the same bytes on every node, whatever its history, its trees' shapes or the size of the pieces.
//
// Format 1, 2 where there are alarms, 3 once there were users and roles, or 4 once sessions, or grants on terms of their own,
// were used. Numbers are LEB128 in their shortest form
// (lease ids zigzag), text and data have their length before them, 8-byte numbers are little-endian. Each section is a
// run of records that begin with a tag, and ends with tag 0:
//
//   header   "PCST" · format u8 · compacted revision · revision
//   base     1 key · value · create · mod revision · version · lease      what was live when the revision log begins,
//                                                                         by ascending key
//   log      1 revision, less the one before                              the revisions that changed keys, from the
//            2 key · value · lease    3 key (deleted)                     compacted one on, with their events in order
//   leases   1 id · ttl · generation · deadline                           by ascending id
//   scopes   1 scope · last number · held u8 [holder · lease]             by ascending scope, its queue behind it
//            2 ticket · holder · lease
//   nodes    1 node · key id · public key · client URL · birth · removed u8
//   clients  1 id · ttl · generation · deadline · forgotten through       by ascending id, its outcomes behind it
//            2 sequence · fingerprint u64 · outcome
//   alarms   1 kind u8 · member [· quota]                                 from format 2 on, in order; kind 3 has a quota
//   auth     users, roles and tokens (AuthBytes.swift)                    from format 3 on
//
// In format 4 the following stand behind the parts of their records (SessionBytes.swift):
//
//   leases   1 … holder
//   scopes   1 … lock delay · closed until · value
//            2 … scope · has terms u8 [terms]
//            3 holder · lease                                             those that share it, by ascending lease
//            4 lease · index                                              who asked again, by ascending lease
//   nodes    2 last number                                                where the key has one
//   gateways 1 name                                                       by ascending name, its scopes behind it
//            2 scope · unconfirmed number or 0
//            3 name · by · reason                                         those that were deregistered, oldest first
//
// Everything else is derived: superseded versions, what an event replaced, what a lease has attached, sizes.

enum StateFormat {
  static var magic: [UInt8] { [0x50, 0x43, 0x53, 0x54] }
  static var version: UInt8 { 1 }
  static var versionWithAlarms: UInt8 { 2 }
  static var versionWithAuth: UInt8 { 3 }
  static var versionWithSessions: UInt8 { 4 }
  /// Ends a section.
  static var end: UInt8 { 0 }
  static var record: UInt8 { 1 }
  /// Belongs to the record before.
  static var part: UInt8 { 2 }
  /// Of the revision log; elsewhere, another part of the record before.
  static var deletion: UInt8 { 3 }
  static var asked: UInt8 { 4 }

  /// What the first revision of the log is counted from.
  static func revisionBeforeLog(compacted: Revision) -> Revision { max(compacted, 1) - 1 }
}

package struct StateWriter: Sendable {
  private enum Section: Int { case header, base, log, leases, scopes, nodes, clients, alarms, auth, gateways, done }

  private let state: Coordination
  private var section = Section.header
  private var out = ByteWriter(capacity: 0)
  /// How much of `out` was given away.
  private var given = 0

  private var base: BaseCursor
  private var log: OrderedTree<Revision, KeyStore.Events>.Cursor
  private var events: KeyStore.Events = []
  private var eventPosition = 0
  private var lastRevision: Revision
  private var leases: OrderedTree<LeaseID, Lease>.Cursor
  private var scopes: OrderedTree<Key, ScopeState>.Cursor
  private var queue: OrderedTree<Ticket, Waiter>.Cursor?
  private var sharers: OrderedTree<LeaseID, GrantRecord>.Cursor?
  private var asked: OrderedTree<LeaseID, Ticket>.Cursor?
  private var nodePosition = 0
  private var clients: OrderedTree<ClientID, ClientRecord>.Cursor
  private var remembered: OrderedTree<UInt64, RememberedOutcome>.Cursor?
  private var alarmPosition = 0
  private var auth: AuthWriter
  private var gateways: GatewayWriter

  /// Begins to write a state. It costs a copy of the state's roots, and the writer sees that instant for ever.
  package init(_ state: Coordination) {
    precondition(!state.store.hasPendingChanges, "a state is written between two commands")
    self.state = state
    base = BaseCursor(state.store)
    log = .init(state.store.log)
    lastRevision = StateFormat.revisionBeforeLog(compacted: state.store.compactedRevision)
    leases = .init(state.leases.leases)
    scopes = .init(state.scopes.scopes)
    clients = .init(state.clients.clients)
    auth = AuthWriter(state.auth)
    gateways = GatewayWriter(state.gateways)
  }

  /// The next bytes: exactly `maxBytes` of them, but for the last piece; nil when all were given.
  package mutating func next(maxBytes: Int) -> [UInt8]? {
    precondition(maxBytes > 0, "a piece holds at least a byte")
    if given > 0, out.bytes.count - given < maxBytes {
      out.bytes.removeFirst(given)
      given = 0
    }
    while out.bytes.count - given < maxBytes, section != .done { writeRecord() }
    let count = min(maxBytes, out.bytes.count - given)
    guard count > 0 else { return nil }
    defer { given += count }
    return Array(out.bytes[given..<(given + count)])
  }

  private mutating func writeRecord() {
    let isWritten =
      switch section {
      case .header: writeHeader()
      case .base: writeBase()
      case .log: writeEvent()
      case .leases: writeLease()
      case .scopes: writeScope()
      case .nodes: writeNode()
      case .clients: writeClient()
      case .alarms: writeAlarm()
      case .auth: !state.auth.isUntouched && auth.writeRecord(to: &out)
      case .gateways: hasSessions && gateways.writeRecord(to: &out)
      case .done: false
      }
    guard !isWritten, let next = Section(rawValue: section.rawValue + 1) else { return }
    if !isLeftOut { out.byte(StateFormat.end) }
    section = next
  }

  private var hasSessions: Bool { state.usesSessions }

  private var version: UInt8 {
    if hasSessions { return StateFormat.versionWithSessions }
    if !state.auth.isUntouched { return StateFormat.versionWithAuth }
    return state.alarms.isEmpty ? StateFormat.version : StateFormat.versionWithAlarms
  }

  /// Whether the section is none in this version of the format, or has no end of its own.
  private var isLeftOut: Bool {
    switch section {
    case .header: true
    case .alarms: version < StateFormat.versionWithAlarms
    case .auth: version < StateFormat.versionWithAuth
    case .gateways: !hasSessions
    default: false
    }
  }

  private mutating func writeHeader() -> Bool {
    for byte in StateFormat.magic { out.byte(byte) }
    out.byte(version)
    out.number(UInt64(state.store.compactedRevision))
    out.number(UInt64(state.store.revision))
    return false
  }

  private mutating func writeBase() -> Bool {
    guard let version = base.next() else { return false }
    out.byte(StateFormat.record)
    out.data(version.key.bytes)
    out.data(version.value)
    out.number(UInt64(version.createRevision))
    out.number(UInt64(version.modRevision))
    out.number(UInt64(version.version))
    out.signed(version.lease)
    return true
  }

  private mutating func writeEvent() -> Bool {
    if eventPosition == events.count {
      guard let (revision, events) = log.next() else { return false }
      out.byte(StateFormat.record)
      out.number(UInt64(revision - lastRevision))
      lastRevision = revision
      self.events = events
      eventPosition = 0
    }
    let version = events[eventPosition].version
    eventPosition += 1
    out.byte(version.isTombstone ? StateFormat.deletion : StateFormat.part)
    out.data(version.key.bytes)
    if version.isTombstone { return true }
    out.data(version.value)
    out.signed(version.lease)
    return true
  }

  private mutating func writeLease() -> Bool {
    guard let (_, lease) = leases.next() else { return false }
    out.byte(StateFormat.record)
    out.signed(lease.id)
    out.number(UInt64(lease.ttlMilliseconds))
    out.number(lease.generation)
    out.number(lease.deadlineMilliseconds)
    if hasSessions { out.data(Bytes(lease.holder.utf8)) }
    return true
  }

  private mutating func writeScope() -> Bool {
    if let (_, waiter) = queue?.next() {
      out.byte(StateFormat.part)
      out.number(waiter.ticket)
      out.data(Bytes(waiter.holder.utf8))
      out.signed(waiter.lease)
      if hasSessions { out.rest(of: waiter) }
      return true
    }
    if let (_, record) = sharers?.next() {
      out.byte(StateFormat.deletion)
      out.data(Bytes(record.holder.utf8))
      out.signed(record.lease)
      return true
    }
    if let (lease, ticket) = asked?.next() {
      out.byte(StateFormat.asked)
      out.signed(lease)
      out.number(ticket)
      return true
    }
    guard let (scope, state) = scopes.next() else { return false }
    out.byte(StateFormat.record)
    out.data(scope.bytes)
    out.number(UInt64(state.lastNumber))
    out.flags(state.holder != nil)
    if let holder = state.holder {
      out.data(Bytes(holder.holder.utf8))
      out.signed(holder.lease)
    }
    if hasSessions {
      out.number(UInt64(state.lockDelayMilliseconds))
      out.number(state.closedUntilMilliseconds)
      out.data(state.value)
    }
    queue = .init(state.queue)
    sharers = .init(state.sharers)
    asked = .init(state.asked)
    return true
  }

  private mutating func writeNode() -> Bool {
    guard nodePosition < state.nodes.count else { return false }
    let record = state.nodes[nodePosition]
    nodePosition += 1
    out.byte(StateFormat.record)
    out.number(record.node)
    out.data(Bytes(record.keyID.utf8))
    out.data(record.publicKey)
    out.data(Bytes(record.clientURL.utf8))
    out.number(record.birth)
    out.flags(record.isRemoved)
    if record.lastNumber > 0 {
      out.byte(StateFormat.part)
      out.signed(record.lastNumber)
    }
    return true
  }

  private mutating func writeClient() -> Bool {
    if let (sequence, outcome) = remembered?.next() {
      out.byte(StateFormat.part)
      out.number(sequence)
      out.fixed(outcome.fingerprint)
      out.data(outcome.outcome)
      return true
    }
    guard let (_, client) = clients.next() else { return false }
    out.byte(StateFormat.record)
    out.number(client.id)
    out.number(UInt64(client.ttlMilliseconds))
    out.number(client.generation)
    out.number(client.deadlineMilliseconds)
    out.number(client.forgottenThrough)
    remembered = .init(client.remembered)
    return true
  }

  private mutating func writeAlarm() -> Bool {
    guard alarmPosition < state.alarms.count else { return false }
    out.byte(StateFormat.record)
    out.alarm(state.alarms[alarmPosition])
    alarmPosition += 1
    return true
  }
}

/// Walks what was live just before the first revision of the log, by ascending key. Of each such key there is one
/// version: still live, superseded since, or replaced by the compacted revision itself and known to its events alone.
struct BaseCursor: Sendable {
  private let bound: Revision
  private var live: OrderedTree<Key, KeyVersion>.Cursor?
  private var superseded: OrderedTree<VersionKey, KeyVersion>.Cursor?
  private var replaced: [KeyVersion] = []
  private var heads: (live: KeyVersion?, superseded: KeyVersion?, replaced: KeyVersion?)

  init(_ store: KeyStore) {
    bound = store.compactedRevision
    // Before the first compaction the log has everything.
    guard bound > 0 else { return }
    live = .init(store.live)
    superseded = .init(store.superseded)
    for event in store.log[bound] ?? [] {
      if let previous = event.previous, previous.modRevision < bound { replaced.append(previous) }
    }
    replaced.sort { $1.key < $0.key }
    advanceLive()
    advanceSuperseded()
    heads.replaced = replaced.popLast()
  }

  mutating func next() -> KeyVersion? {
    var first = heads.live
    if let other = heads.superseded, first.map({ other.key < $0.key }) ?? true { first = other }
    if let other = heads.replaced, first.map({ other.key < $0.key }) ?? true { first = other }
    guard let first else { return nil }
    if first === heads.live {
      advanceLive()
    } else if first === heads.superseded {
      advanceSuperseded()
    } else {
      heads.replaced = replaced.popLast()
    }
    return first
  }

  private mutating func advanceLive() {
    repeat { heads.live = live?.next()?.value } while heads.live.map { $0.modRevision >= bound } ?? false
  }

  private mutating func advanceSuperseded() {
    repeat {
      heads.superseded = superseded?.next()?.value
    } while heads.superseded.map { $0.modRevision >= bound } ?? false
  }
}

extension Coordination {
  /// A 64-bit hash of the bytes that a `StateWriter` gives of the state. It reads the whole state: for tests, for the
  /// simulator, and for nodes that compare themselves now and then.
  package var digest: UInt64 {
    var hash = StableHash()
    var writer = StateWriter(self)
    while let piece = writer.next(maxBytes: 1 << 16) { hash.combine(piece) }
    return hash.value
  }
}
