// Owns the holders: sessions that keep a lease, acquire a scope, write through gateways while they may, and stop in
// time by their own clock.
// Must never: believe to hold a scope beyond `sending + TTL - margin` on the holder's own clock.
// Invariant: a session that starts over has a new generation and a new lease; answers to an earlier one mean nothing.

import CoordinationCore
import FencingCore
import RaftCore

struct Session {
  enum Phase: UInt8 {
    case idle
    /// Asked for a lease.
    case granting
    /// Has a lease and no scope.
    case live
    case acquiring
    case waiting
    /// Holds the scope; `isServing` once the gateways know its number.
    case holding
    case releasing
  }

  let position: Int
  let scope: Int
  let clock: LocalClock
  var phase = Phase.idle
  var generation = 0
  var lease: LeaseID = 0
  /// In real time, for the checks: until when the holder's own clock lets it believe that its lease lives.
  var deadline: UInt64 = 0
  var phaseBegan: UInt64 = 0
  var grant: GrantRecord?
  var claims: FenceClaims?
  var raisesLeft = 0
  var pausedUntil: UInt64 = 0
  var acquire: UInt64?
  var endsAt: UInt64 = 0
  /// Numbers up to here were given back: a late answer does not bring them back.
  var lastReleased: Revision = 0

  init(position: Int, scope: Int, clock: LocalClock) {
    self.position = position
    self.scope = scope
    self.clock = clock
  }

  var name: String { "h\(position)" }
  var isServing: Bool { phase == .holding && raisesLeft == 0 }
}

extension Simulator {
  static func scopeKey(_ scope: Int) -> Key { Key([0x73, 0x2F, 0x30 + UInt8(scope)]) }

  var ttlMicroseconds: UInt64 { world.sessions.ttlMilliseconds * 1000 }

  /// Two clocks may differ by twice the drift, and a reading is cut to whole milliseconds here and there.
  private var marginMilliseconds: UInt64 {
    world.sessions.ttlMilliseconds * 3 * world.driftPerMille / 1000 + 5
  }

  mutating func wake(_ position: Int) {
    let gap = sessionChance.next(in: (ttlMicroseconds / 8)..<(ttlMicroseconds / 4))
    guard phase == .faults || phase == .majority else { return }
    if sessions[position].pausedUntil > now {
      return queue.push(.session(position), afterMicroseconds: sessions[position].pausedUntil - now)
    }
    queue.push(.session(position), afterMicroseconds: gap)
    writeLate(position)
    switch sessions[position].phase {
    case .idle: begin(position)
    case .granting: if now > sessions[position].phaseBegan + ttlMicroseconds { sessions[position].phase = .idle }
    case .live, .acquiring, .waiting, .holding, .releasing:
      guard now < sessions[position].deadline else { return lose(position) }
      submit(.leaseRenew(position), .leaseRenew(sessions[position].lease), for: position)
      act(position)
    }
  }

  private mutating func begin(_ position: Int) {
    sessions[position].generation += 1
    sessions[position].lease = LeaseID(sessions[position].generation * 100 + position + 1)
    sessions[position].phase = .granting
    sessions[position].phaseBegan = now
    sessions[position].grant = nil
    sessions[position].claims = nil
    sessions[position].deadline = 0
    let lease = sessions[position].lease
    let ttl = Int64(world.sessions.ttlMilliseconds)
    submit(.leaseGrant(position), .leaseGrant(lease, ttlMilliseconds: ttl), for: position)
  }

  private mutating func lose(_ position: Int) {
    sessions[position].phase = .idle
    // Some late releases come from holders that do not know yet.
    guard let grant = sessions[position].grant, sessionChance.chance(perMille: 300) else { return }
    reach(.lateRelease)
    submit(.release(position), .release(scope: grant.scope, number: grant.number), for: position)
  }

  private mutating func act(_ position: Int) {
    let session = sessions[position]
    switch session.phase {
    case .live: acquire(position)
    case .acquiring: if now > session.phaseBegan + ttlMicroseconds { acquire(position) }
    case .waiting: if now > session.phaseBegan + 2 * ttlMicroseconds { cancelWait(position) }
    case .holding:
      if session.isServing { writeThrough(position) } else { raise(position) }
      if now > session.endsAt { release(position) }
    case .releasing, .idle, .granting: break
    }
  }

  private mutating func acquire(_ position: Int) {
    let waits = sessionChance.chance(perMille: 700)
    let session = sessions[position]
    let request = AcquireRequest(
      scope: Self.scopeKey(session.scope), holder: session.name, lease: session.lease, ttlMilliseconds: 0,
      waits: waits)
    sessions[position].phase = .acquiring
    sessions[position].phaseBegan = now
    sessions[position].acquire = submit(.acquire(position), .acquire(request), for: position)
  }

  private mutating func cancelWait(_ position: Int) {
    sessions[position].phase = .live
    guard let id = sessions[position].acquire, operations[id].committedAt > .beforeFirst else { return }
    // The ticket of a waiter is the index of the entry that asked.
    let node = nodes[operations[id].node]
    let ticket = operations[id].committedAt.rawValue
    guard node.isUp, node.life == operations[id].life else { return }
    let cancel = Command.cancelWait(scope: Self.scopeKey(sessions[position].scope), ticket: ticket)
    submit(.cancelWait(position), cancel, for: position, at: node)
  }

  /// From the moment of sending the holder no longer takes itself for one.
  private mutating func release(_ position: Int) {
    guard let grant = sessions[position].grant else { return }
    sessions[position].phase = .releasing
    sessions[position].lastReleased = grant.number
    if sessionChance.chance(perMille: 300) { return submitRevoke(position) }
    // Some just stop, and their lease runs out.
    if sessionChance.chance(perMille: 300) { return sessions[position].phase = .idle }
    submit(.release(position), .release(scope: grant.scope, number: grant.number), for: position)
  }

  private mutating func submitRevoke(_ position: Int) {
    submit(.leaseRevoke(position), .leaseRevoke(sessions[position].lease), for: position)
  }

  @discardableResult
  private mutating func submit(
    _ work: Operation.Work, _ command: Command, for position: Int, at chosen: SimulatedNode? = nil
  ) -> UInt64? {
    let node = chosen ?? nodes[sessionChance.next(below: nodes.count)]
    guard node.isUp else { return nil }
    let proposal = propose(work, command, at: node)
    operations[proposal.id].generation = sessions[position].generation
    give(node, .propose([proposal]))
    return proposal.id
  }

  // MARK: Answers

  mutating func sessionAnswered(_ id: UInt64, _ operation: Operation, _ outcome: Outcome) throws(Broken) {
    switch (operation.work, outcome) {
    case (.leaseGrant(let position), .leaseGranted) where isCurrent(operation, position):
      if sessions[position].phase == .granting { sessions[position].phase = .live }
      extend(position, sentAt: operation.invokedAt)
    case (.leaseRenew(let position), .leaseRenewed) where isCurrent(operation, position):
      extend(position, sentAt: operation.invokedAt)
    case (.leaseRenew(let position), .failed), (.acquire(let position), .failed):
      if isCurrent(operation, position) { sessions[position].phase = .idle }
    case (.acquire(let position), .granted(let record)) where isCurrent(operation, position):
      try granted(record, position)
    case (.acquire(let position), _) where isCurrent(operation, position):
      if sessions[position].acquire == id { sessions[position].phase = .live }
    case (.release(let position), _) where isCurrent(operation, position):
      if sessions[position].phase == .releasing { sessions[position].phase = .live }
    case (.leaseRevoke(let position), _) where isCurrent(operation, position):
      sessions[position].phase = .idle
    default: break
    }
  }

  mutating func sessionQueued(_ operation: Operation) {
    guard case .acquire(let position) = operation.work, isCurrent(operation, position) else { return }
    if sessions[position].phase == .acquiring { sessions[position].phase = .waiting }
  }

  mutating func sessionRefused(_ operation: Operation) {
    guard case .acquire(let position) = operation.work, isCurrent(operation, position) else { return }
    if sessions[position].phase == .acquiring { sessions[position].phase = .live }
  }

  private func isCurrent(_ operation: Operation, _ position: Int) -> Bool {
    operation.generation == sessions[position].generation
  }

  /// The deadline counts from when the renewal was sent, not from when its answer came.
  private mutating func extend(_ position: Int, sentAt: UInt64) {
    let patience = (world.sessions.ttlMilliseconds - marginMilliseconds) * 1000
    let from = options.plantedBug == .deadlineFromAnswer ? now : sentAt
    let deadline = from + sessions[position].clock.realMicroseconds(for: patience)
    sessions[position].deadline = max(sessions[position].deadline, deadline)
  }

  private mutating func granted(_ record: GrantRecord, _ position: Int) throws(Broken) {
    let session = sessions[position]
    // A late answer finds a holder that has given up, or released it: its lease or its release ends the grant.
    guard session.phase == .acquiring || session.phase == .waiting || session.phase == .live,
      now < session.deadline, record.number > session.lastReleased
    else { return }
    try checkSoleHolder(position)
    trace.record(.note("\(session.name) holds its scope under \(record.number)"), at: now)
    sessions[position].phase = .holding
    sessions[position].grant = record
    sessions[position].claims = claims(of: record)
    sessions[position].raisesLeft = world.sessions.usesBarrier ? gateways.count : 0
    sessions[position].endsAt = now + sessionChance.next(in: ttlMicroseconds..<(4 * ttlMicroseconds))
    if sessions[position].raisesLeft > 0 { raise(position) }
  }

  // MARK: Rules

  /// No two sessions take themselves for holders of one scope at the same time, by their own clocks. Two that both do stop
  /// doing so with the first of them, and either may be the one whose lease a clock that jumped has cut short: a grant that
  /// was over before its answer came still makes its holder believe.
  private func checkSoleHolder(_ position: Int) throws(Broken) {
    let session = sessions[position]
    for other in sessions
    where other.position != position && other.scope == session.scope && other.phase == .holding {
      let both = min(other.deadline, session.deadline)
      guard both > now + leapAllowance(ttlMicroseconds: ttlMicroseconds) else { continue }
      throw Broken(
        "a lease never ends before its holder's own deadline",
        "\(session.name) and \(other.name) hold one scope for another \(both - now) us")
    }
  }

  /// What clocks that jumped may have taken from every lease that is alive now.
  func leapAllowance(ttlMicroseconds ttl: UInt64) -> UInt64 {
    var allowance: UInt64 = 0
    for leap in leaps where leap.at + 2 * ttl > now { allowance += leap.microseconds }
    return allowance
  }

  /// Called when an expiry was applied for the first time anywhere.
  mutating func checkExpiry(of lease: LeaseID) throws(Broken) {
    let position = Int(lease) % 100 - 1
    guard sessions.indices.contains(position), sessions[position].lease == lease else { return }
    let session = sessions[position]
    let isAlive = session.phase != .idle && session.phase != .granting
    trace.record(.note("the lease \(lease) of \(session.name) expired"), at: now)
    guard !isAlive || session.deadline <= now + leapAllowance(ttlMicroseconds: ttlMicroseconds) else {
      throw Broken(
        "a lease never ends before its holder's own deadline",
        "the lease of \(session.name) ended \(session.deadline - now) us early")
    }
  }
}
