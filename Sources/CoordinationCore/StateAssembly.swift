// Owns the parts of a state while it is read, and what is derived from them at the end.
// Must never: take in a record that contradicts those before it. Each `read…` checks all of a record before it changes
// anything, since a record whose end has not come yet is read again from its beginning.

struct StateAssembly: Sendable {
  private var compacted: Revision = 0
  private var revision: Revision = 0
  private var lastBaseKey: Key?
  private var replay = LogReplay(compactedRevision: 0)
  private var logRevision: Revision = 0
  private var isInRevision = false
  private var leases: [Lease] = []
  private var scopes = OrderedTree<Key, ScopeState>.Builder()
  private var scope: (key: Key, state: ScopeState)?
  private var queue = OrderedTree<Ticket, Waiter>.Builder()
  private var nodes: [NodeRecord] = []
  private var clients: [ClientRecord] = []
  private var client: ClientRecord?
  private var remembered = OrderedTree<UInt64, RememberedOutcome>.Builder()
  private var rememberedCount = 0
  private(set) var hasAlarms = false
  private var alarms: [Alarm] = []
  private(set) var hasAuth = false
  private var auth = AuthAssembly()
  private(set) var hasSessions = false
  private var sharers = OrderedTree<LeaseID, GrantRecord>.Builder()
  private var asked = OrderedTree<LeaseID, Ticket>.Builder()
  private var gateways = GatewayAssembly()

  mutating func readHeader(_ input: inout StrictReader) throws(StateError) {
    for byte in StateFormat.magic where try input.byte() != byte { throw input.malformed("this is no state") }
    let version = try input.byte()
    guard (StateFormat.version...StateFormat.versionWithSessions).contains(version) else {
      throw .unknownVersion(version)
    }
    let compacted = try input.revision()
    let revision = try input.revision()
    guard revision >= 1, compacted <= revision else { throw input.malformed("compacted beyond the revision") }
    (self.compacted, self.revision) = (compacted, revision)
    hasAlarms = version >= StateFormat.versionWithAlarms
    hasAuth = version >= StateFormat.versionWithAuth
    hasSessions = version == StateFormat.versionWithSessions
    replay = LogReplay(compactedRevision: compacted)
    logRevision = StateFormat.revisionBeforeLog(compacted: compacted)
  }
}

// MARK: - Keys

extension StateAssembly {
  mutating func readBase(_ input: inout StrictReader) throws(StateError) {
    let key = Key(try input.data())
    let value = try input.data()
    let create = try input.revision()
    let mod = try input.revision()
    let version = try input.revision()
    let lease = try input.signed()
    guard lastBaseKey.map({ $0 < key }) ?? true else { throw input.malformed("keys that do not ascend") }
    guard create >= 1, create <= mod, mod < compacted, version >= 1 else {
      throw input.malformed("a version that cannot have been before the log")
    }
    replay.begin(
      with: KeyVersion(
        key: key, value: value, createRevision: create, modRevision: mod, version: version, lease: lease))
    lastBaseKey = key
  }

  mutating func readRevision(_ input: inout StrictReader) throws(StateError) {
    let step = try input.revision()
    guard step >= 1, step <= revision - logRevision, logRevision + step >= 2 else {
      throw input.malformed("a revision out of order")
    }
    try endRevision(input)
    logRevision += step
    isInRevision = true
  }

  mutating func readPut(_ input: inout StrictReader) throws(StateError) {
    let key = Key(try input.data())
    let value = try input.data()
    let lease = try input.signed()
    guard isInRevision else { throw input.malformed("an event of no revision") }
    replay.put(key, value: value, lease: lease, at: logRevision)
  }

  mutating func readDeletion(_ input: inout StrictReader) throws(StateError) {
    let key = Key(try input.data())
    guard isInRevision else { throw input.malformed("an event of no revision") }
    guard replay.delete(key, at: logRevision) else {
      throw input.malformed("the deletion of a key that does not exist")
    }
  }

  mutating func endLog(_ input: StrictReader) throws(StateError) {
    try endRevision(input)
  }

  private mutating func endRevision(_ input: StrictReader) throws(StateError) {
    guard isInRevision else { return }
    guard replay.endRevision(logRevision) else { throw input.malformed("a revision without events") }
    isInRevision = false
  }
}

// MARK: - Leases, scopes, nodes, clients

extension StateAssembly {
  mutating func readLease(_ input: inout StrictReader) throws(StateError) {
    let id = try input.signed()
    let ttl = try input.number(atMost: UInt64(Int64.max), "a time to live of")
    let generation = try input.number()
    let deadline = try input.deadline()
    let holder = hasSessions ? try input.text() : ""
    guard id != 0, leases.last.map({ $0.id < id }) ?? true else { throw input.malformed("leases that do not ascend") }
    leases.append(
      Lease(
        id: id, ttlMilliseconds: Int64(ttl), holder: holder, generation: generation, deadlineMilliseconds: deadline))
  }

  mutating func readScope(_ input: inout StrictReader) throws(StateError) {
    let key = Key(try input.data())
    let number = try input.revision()
    var state = ScopeState()
    state.lastNumber = number
    if try input.flag() {
      state.holder = GrantRecord(scope: key, number: number, holder: try input.text(), lease: try input.signed())
    }
    if hasSessions {
      state.lockDelayMilliseconds = Int64(try input.number(atMost: UInt64(Int64.max), "a lock delay of"))
      state.closedUntilMilliseconds = try input.deadline()
      state.value = try input.data()
    }
    // A scope that was asked for together with others may never have been granted yet.
    guard number >= 2 || (hasSessions && number == 0), number <= revision else {
      throw input.malformed("a grant at a revision that was not")
    }
    guard scope.map({ $0.key < key }) ?? true else { throw input.malformed("scopes that do not ascend") }
    endScope()
    scope = (key, state)
  }

  mutating func readWaiter(_ input: inout StrictReader) throws(StateError) {
    let (ticket, holder, lease) = (try input.number(), try input.text(), try input.signed())
    let first = hasSessions ? Key(try input.data()) : scope?.key ?? Key([])
    let hasTerms = hasSessions ? try input.flag() : false
    let terms = hasTerms ? try input.terms() : nil
    let waiter = Waiter(ticket: ticket, holder: holder, lease: lease, scope: first, terms: terms)
    guard scope?.state.holder != nil || hasSessions else {
      throw input.malformed("a waiter for a scope that nobody holds")
    }
    guard sharers.lastKey == nil, asked.lastKey == nil, let key = scope?.key, waiter.scopes.contains(key) else {
      throw input.malformed("a waiter at a place that is not its own")
    }
    guard queue.lastKey.map({ $0 < waiter.ticket }) ?? true else { throw input.malformed("tickets that do not ascend") }
    queue.append(waiter.ticket, waiter)
  }

  mutating func readSharer(_ input: inout StrictReader) throws(StateError) {
    let (holder, lease) = (try input.text(), try input.signed())
    guard let (key, state) = scope, state.holder == nil, asked.lastKey == nil, state.lastNumber > 0,
      sharers.lastKey.map({ $0 < lease }) ?? true
    else { throw input.malformed("a share in a scope that is not shared") }
    sharers.append(
      lease, GrantRecord(scope: key, number: state.lastNumber, holder: holder, lease: lease, isShared: true))
  }

  mutating func readAsked(_ input: inout StrictReader) throws(StateError) {
    let (lease, ticket) = (try input.signed(), try input.number())
    guard scope != nil, asked.lastKey.map({ $0 < lease }) ?? true else {
      throw input.malformed("those who asked again do not ascend")
    }
    asked.append(lease, ticket)
  }

  mutating func readGateway(_ tag: UInt8, _ input: inout StrictReader) throws(StateError) {
    try gateways.read(tag, &input)
  }

  mutating func endScope() {
    guard let key = scope?.key, var state = scope?.state else { return }
    state.queue = queue.finish()
    state.sharers = sharers.finish()
    state.asked = asked.finish()
    (queue, sharers, asked) = (.init(), .init(), .init())
    scopes.append(key, state)
  }

  mutating func readNode(_ input: inout StrictReader) throws(StateError) {
    var record = NodeRecord(
      node: try input.number(), keyID: try input.text(), publicKey: try input.data(), clientURL: try input.text(),
      birth: try input.number())
    record.isRemoved = try input.flag()
    nodes.append(record)
  }

  mutating func readLastNumber(_ input: inout StrictReader) throws(StateError) {
    let number = try input.signed()
    guard let last = nodes.indices.last, nodes[last].lastNumber == 0, number > 0, number <= revision else {
      throw input.malformed("a last number of no node's key")
    }
    nodes[last].lastNumber = number
  }

  mutating func readClient(_ input: inout StrictReader) throws(StateError) {
    let id = try input.number()
    let ttl = try input.number(atMost: UInt64(StateLimits.maxClientTTLMilliseconds), "a time to live of")
    let generation = try input.number()
    let deadline = try input.deadline()
    var record = ClientRecord(id: id, ttlMilliseconds: Int64(ttl), deadlineMilliseconds: deadline)
    record.generation = generation
    record.forgottenThrough = try input.number()
    guard client.map({ $0.id < id }) ?? true else { throw input.malformed("clients that do not ascend") }
    guard clients.count < StateLimits.maxClients else { throw input.malformed("more clients than there can be") }
    endClient()
    client = record
  }

  mutating func readRemembered(_ input: inout StrictReader) throws(StateError) {
    let sequence = try input.number()
    let outcome = RememberedOutcome(fingerprint: try input.fixed(), outcome: try input.data())
    guard let record = client else { throw input.malformed("an outcome of no client") }
    guard sequence > (remembered.lastKey ?? record.forgottenThrough) else {
      throw input.malformed("sequences that do not ascend")
    }
    let bytes = record.rememberedBytes + outcome.outcome.count
    guard rememberedCount < StateLimits.maxRememberedPerClient, bytes <= StateLimits.maxRememberedBytesPerClient else {
      throw input.malformed("more outcomes than a client can have")
    }
    do throws(StateError) {
      _ = try Outcome.decode(outcome.outcome)
    } catch {
      throw input.malformed("an outcome that cannot be read")
    }
    remembered.append(sequence, outcome)
    rememberedCount += 1
    client?.rememberedBytes = bytes
  }

  mutating func endClient() {
    guard var record = client else { return }
    record.remembered = remembered.finish()
    remembered = .init()
    rememberedCount = 0
    clients.append(record)
  }
}

extension StateAssembly {
  mutating func readAlarm(_ input: inout StrictReader) throws(StateError) {
    let alarm = try input.alarm()
    guard alarms.count < StateLimits.maxAlarms, alarms.last.map({ $0 < alarm }) ?? true else {
      throw input.malformed("alarms that do not ascend, or too many")
    }
    alarms.append(alarm)
  }

  func endAlarms(_ input: StrictReader) throws(StateError) {
    if alarms.isEmpty, !hasAuth { throw input.malformed("a format with alarms and none of them") }
  }

  mutating func readAuth(_ tag: UInt8, _ input: inout StrictReader) throws(StateError) {
    try auth.read(tag, &input)
  }

  mutating func endAuth(_ input: StrictReader) throws(StateError) {
    // Format 4 has the section also where there are neither users nor roles.
    if hasSessions, auth.isUntouched { hasAuth = false } else { try auth.end(input) }
  }
}

// MARK: - The whole

extension StateAssembly {
  /// What a lease keeps alive, gathered from the other side.
  private struct Attached {
    var keys = OrderedTree<Key, Void>.Builder()
    var scopes = OrderedTree<Key, Void>.Builder()
    var waits = OrderedTree<WaitKey, Void>.Builder()
  }

  consuming func assemble(at position: UInt64) throws(StateError) -> Coordination {
    var state = Coordination()
    state.scopes = GrantTable(scopes: scopes.finish())
    state.store = replay.finish(at: revision)
    state.leases = LeaseTable(sorted: try Self.attach(leases, in: state, at: position))
    state.nodes = nodes
    state.clients = ClientTable(sorted: clients)
    state.alarms = alarms
    if hasAuth { state.auth = auth.finish() }
    state.usesSessions = hasSessions
    state.gateways = gateways.finish()
    return state
  }

  private static func attach(
    _ leases: [Lease], in state: Coordination, at position: UInt64
  ) throws(StateError) -> [Lease] {
    var attached = [Attached](repeating: Attached(), count: leases.count)
    // Only looked up, never iterated, so its order does not matter.
    var places: [LeaseID: Int] = [:]
    for (place, lease) in leases.enumerated() { places[lease.id] = place }
    var isWhole = true
    func attach(to lease: LeaseID, _ body: (inout Attached) -> Void) {
      if let place = places[lease] { body(&attached[place]) } else { isWhole = false }
    }
    state.store.live.forEach { key, version in
      if version.lease != 0 { attach(to: version.lease) { $0.keys.append(key, ()) } }
      return true
    }
    state.scopes.scopes.forEach { scope, held in
      if let holder = held.holder { attach(to: holder.lease) { $0.scopes.append(scope, ()) } }
      held.sharers.forEach { lease, _ in
        attach(to: lease) { $0.scopes.append(scope, ()) }
        return true
      }
      held.asked.forEach { lease, _ in
        attach(to: lease) { _ in }
        return true
      }
      held.queue.forEach { ticket, waiter in
        attach(to: waiter.lease) { $0.waits.append(WaitKey(scope: scope, ticket: ticket), ()) }
        return true
      }
      return true
    }
    guard isWhole else { throw .malformed("a lease that something goes with does not exist", offset: position) }
    var whole = leases
    for place in whole.indices {
      whole[place].keys = attached[place].keys.finish()
      whole[place].scopes = attached[place].scopes.finish()
      whole[place].waits = attached[place].waits.finish()
    }
    return whole
  }
}

extension StrictReader {
  fileprivate mutating func deadline() throws(StateError) -> UInt64 {
    try number(atMost: StateLimits.highestDeadlineMilliseconds, "a deadline of")
  }
}
