// Owns the contenders: sessions that ask for scopes on terms: several together, shared, with lock-delay and a barrier. While
// they hold scopes they write under their numbers and proclaim, and they stop by their own clock.
// Must never: believe to hold a scope beyond `sending + TTL - margin` on its own clock.
// Invariant: a contender that starts over has a new generation and a new lease; answers to an earlier one mean nothing.

import CoordinationCore
import RaftCore

struct Contender {
  enum Phase: UInt8 {
    case idle
    case opening
    /// Has a lease and no scope.
    case live
    case acquiring
    case waiting
    case holding
    case leaving
  }

  /// What it asked for.
  enum Step: Equatable {
    case open, renew, acquire, upgrade, cancel, release, end, proclaim, write
  }

  let position: Int
  let clock: LocalClock
  var phase = Phase.idle
  var generation = 0
  var lease: LeaseID = 0
  var isSession = false
  /// In real time, for the checks: until when its own clock lets it believe that its lease lives.
  var deadline: UInt64 = 0
  var phaseBegan: UInt64 = 0
  var endsAt: UInt64 = 0
  var request: AcquireRequest?
  /// The operation whose answer it goes by.
  var acquire: UInt64?
  var grants: [GrantRecord] = []
  /// Releases whose answer it waits for. Who asks again before all of them are carried out gets what the last one ends.
  var releasesLeft = 0

  init(position: Int, clock: LocalClock) {
    self.position = position
    self.clock = clock
  }

  var name: String { "c\(position)" }

  func holds(_ scope: Key) -> GrantRecord? { phase == .holding ? grants.first { $0.scope == scope } : nil }
}

extension Simulator {
  static func contendedScope(_ scope: Int) -> Key { Key([Contention.scopePrefix, 0x2F, 0x30 + UInt8(scope)]) }

  var contention: Contention {
    guard let contention = world.contention else { preconditionFailure("there are no contenders in this world") }
    return contention
  }

  private var ttl: UInt64 { contention.ttlMilliseconds * 1000 }

  mutating func beginContention() {
    guard let contention = world.contention else { return }
    for position in 0..<contention.contenders {
      let drift = contenderChance.next(in: 0..<(2 * world.driftPerMille + 1))
      let clock = LocalClock(offsetMicroseconds: 0, ratePerMille: 1000 + drift - world.driftPerMille)
      contenders.append(Contender(position: position, clock: clock))
      queue.push(.contender(position), afterMicroseconds: contenderChance.next(in: 1..<ttl))
    }
  }

  mutating func contend(_ position: Int) {
    guard phase == .faults || phase == .majority else { return }
    queue.push(.contender(position), afterMicroseconds: contenderChance.next(in: (ttl / 8)..<(ttl / 4)))
    switch contenders[position].phase {
    case .idle: open(position)
    case .opening: if now > contenders[position].phaseBegan + ttl { contenders[position].phase = .idle }
    case .live, .acquiring, .waiting, .holding, .leaving:
      guard now < contenders[position].deadline else { return lose(position) }
      submit(.renew, .leaseRenew(contenders[position].lease), for: position)
      act(position)
    }
  }

  private mutating func open(_ position: Int) {
    var fresh = Contender(position: position, clock: contenders[position].clock)
    fresh.generation = contenders[position].generation + 1
    fresh.lease = LeaseID(1_000_000 + fresh.generation * 100 + position + 1)
    fresh.isSession = contenderChance.chance(perMille: 800)
    fresh.phase = .opening
    fresh.phaseBegan = now
    contenders[position] = fresh
    let ttl = Int64(contention.ttlMilliseconds)
    submit(
      .open,
      fresh.isSession
        ? .openSession(fresh.lease, holder: fresh.name, ttlMilliseconds: ttl)
        : .leaseGrant(fresh.lease, ttlMilliseconds: ttl), for: position)
  }

  private mutating func lose(_ position: Int) {
    // Some do not know yet, and write once more.
    if contenderChance.chance(perMille: 500) { writeGuarded(position) }
    for grant in contenders[position].grants { writeThroughProtector(grant) }
    contenders[position].phase = .idle
    contenders[position].grants = []
  }

  private mutating func act(_ position: Int) {
    let contender = contenders[position]
    switch contender.phase {
    case .live:
      contenders[position].request = drawRequest(position)
      acquire(position)
    case .acquiring:
      guard now > contender.phaseBegan + ttl else { return }
      acquire(position)
    case .waiting: if now > contender.phaseBegan + 3 * ttl { cancelWait(position) }
    case .holding:
      if now > contender.endsAt { return leave(position) }
      useGrants(position)
    // Whether the grants are given back is not known, and with the lease they are.
    case .leaving: if now > contender.phaseBegan + ttl { contenders[position].phase = .idle }
    case .idle, .opening: break
    }
  }

  // MARK: Asking

  private mutating func drawRequest(_ position: Int) -> AcquireRequest {
    let contender = contenders[position]
    let wanted = contenderChance.pick([1, 1, 2, 2, 3])
    var scopes = contenderChance.sample(wanted, below: contention.scopes).map(Self.contendedScope)
    let first = scopes.removeFirst()
    var request = AcquireRequest(
      scope: first, holder: contender.isSession ? "" : contender.name, lease: contender.lease, ttlMilliseconds: 0,
      waits: contenderChance.chance(perMille: 800))
    if scopes.isEmpty, contenderChance.chance(perMille: 200) {
      request.holder = contender.name
      return request
    }
    var terms = GrantTerms()
    terms.more = scopes
    terms.isShared = contenderChance.chance(perMille: 350)
    let delays = [0, 0, contention.ttlMilliseconds / 2, contention.ttlMilliseconds]
    terms.lockDelayMilliseconds = Int64(contenderChance.pick(delays))
    terms.value = contenderChance.chance(perMille: 300) ? [] : [UInt8(position), UInt8(contender.generation & 0xFF)]
    terms.barrier = contenderChance.pick([.required, .required, .required, .preferred, .off])
    terms.barrierMilliseconds = Int64(contention.ttlMilliseconds)
    request.terms = terms
    return request
  }

  private mutating func acquire(_ position: Int) {
    guard let request = contenders[position].request else { return }
    contenders[position].phase = .acquiring
    contenders[position].phaseBegan = now
    contenders[position].acquire = submit(.acquire, .acquire(request), for: position)
  }

  private mutating func cancelWait(_ position: Int) {
    contenders[position].phase = .live
    guard let id = contenders[position].acquire, let request = contenders[position].request,
      operations[id].committedAt > .beforeFirst
    else { return }
    contenders[position].acquire = nil
    let node = nodes[operations[id].node]
    guard node.isUp, node.life == operations[id].life else { return }
    let ticket = operations[id].committedAt.rawValue
    submit(.cancel, .cancelWait(scope: request.scope, ticket: ticket), for: position, at: node)
  }

  // MARK: Holding

  private mutating func useGrants(_ position: Int) {
    switch contenderChance.next(below: 10) {
    case 0, 1:
      let grant = contenderChance.pick(contenders[position].grants)
      let value = [UInt8(position), UInt8(truncatingIfNeeded: now)]
      submit(.proclaim, .proclaim(scope: grant.scope, number: grant.number, value: value), for: position)
    case 2:
      // It would wait for itself, if it were let into the queue.
      guard var request = contenders[position].request, request.wantsShare else { return }
      request.terms?.isShared = false
      submit(.upgrade, .acquire(request), for: position)
    case 3, 4, 5, 6: writeGuarded(position)
    default: writeThroughProtector(contenderChance.pick(contenders[position].grants))
    }
  }

  private mutating func writeGuarded(_ position: Int) {
    guard !contenders[position].grants.isEmpty else { return }
    let grant = contenderChance.pick(contenders[position].grants)
    let key = Key([0x67] + grant.scope.bytes)
    let put = Command.put(PutRequest(key: key, value: ValueBytes.encode(UInt64(grant.number), sizeBytes: 8)))
    submit(.write, put, for: position, fence: GrantFence(scope: grant.scope, number: grant.number))
  }

  /// From the moment of sending it no longer takes itself for a holder.
  private mutating func leave(_ position: Int) {
    let contender = contenders[position]
    contenders[position].phase = .leaving
    contenders[position].phaseBegan = now
    contenders[position].grants = []
    switch contenderChance.next(below: 10) {
    case 0...3:
      submit(.end, contender.isSession ? .closeSession(contender.lease) : .leaseRevoke(contender.lease), for: position)
    // Some just stop, and their lease runs out.
    case 4, 5: contenders[position].phase = .idle
    case 6: submit(.end, .leaseRevoke(contender.lease), for: position)
    default:
      contenders[position].releasesLeft = contender.grants.count
      for grant in contender.grants {
        submit(.release, .release(grant), for: position)
      }
    }
  }

  @discardableResult
  private mutating func submit(
    _ step: Contender.Step, _ command: Command, for position: Int, fence: GrantFence? = nil,
    at chosen: SimulatedNode? = nil
  ) -> UInt64? {
    let node = chosen ?? nodes[contenderChance.next(below: nodes.count)]
    guard node.isUp else { return nil }
    let proposal = propose(.contend(position, step), command, at: node, fence: fence)
    operations[proposal.id].generation = contenders[position].generation
    if case .acquire(let request) = command { acquires[proposal.id] = request }
    give(node, .propose([proposal]))
    return proposal.id
  }

  // MARK: Answers

  mutating func contenderAnswered(_ id: UInt64, _ operation: Operation, _ outcome: Outcome) throws(Broken) {
    guard case .contend(let position, let step) = operation.work, isCurrent(operation, position) else { return }
    switch (step, outcome) {
    case (.open, .leaseGranted):
      if contenders[position].phase == .opening { contenders[position].phase = .live }
      extend(position, sentAt: operation.invokedAt)
    case (.renew, .leaseRenewed): extend(position, sentAt: operation.invokedAt)
    case (.open, .failed), (.renew, .failed), (.acquire, .failed), (.end, _):
      contenders[position].phase = .idle
      contenders[position].grants = []
    case (.acquire, .granted(let record)): try granted([record], id, position)
    case (.acquire, .grantedAll(let records)): try granted(records, id, position)
    case (.acquire, let outcome):
      if case .refused(.awaited) = outcome { reach(.refusedForWhoCameEarlier) }
      guard contenders[position].acquire == id else { return }
      contenders[position].phase = if case .refused(.unconfirmed) = outcome { .idle } else { .live }
    case (.release, _):
      contenders[position].releasesLeft -= 1
      guard contenders[position].releasesLeft == 0 else { return }
      if contenders[position].phase == .leaving { contenders[position].phase = .live }
    case (.upgrade, .refused): reach(.upgradeRefused)
    case (.write, .refused): reach(.guardedWriteRefused)
    default: break
    }
  }

  mutating func contenderQueued(_ id: UInt64, _ operation: Operation) {
    guard case .contend(let position, .acquire) = operation.work, contenders[position].acquire == id else { return }
    if contenders[position].phase == .acquiring { contenders[position].phase = .waiting }
  }

  mutating func contenderRefused(_ id: UInt64, _ operation: Operation) {
    guard case .contend(let position, .acquire) = operation.work, contenders[position].acquire == id else { return }
    if contenders[position].phase == .acquiring { contenders[position].phase = .live }
  }

  private func isCurrent(_ operation: Operation, _ position: Int) -> Bool {
    operation.generation == contenders[position].generation
  }

  /// Two clocks may differ by twice the drift, and a reading is cut to whole milliseconds here and there.
  private mutating func extend(_ position: Int, sentAt: UInt64) {
    let margin = contention.ttlMilliseconds * 3 * world.driftPerMille / 1000 + 5
    let patience = (contention.ttlMilliseconds - margin) * 1000
    let deadline = sentAt + contenders[position].clock.realMicroseconds(for: patience)
    contenders[position].deadline = max(contenders[position].deadline, deadline)
  }

  private mutating func granted(_ records: [GrantRecord], _ id: UInt64, _ position: Int) throws(Broken) {
    let contender = contenders[position]
    // A late answer finds one that has given up or asks for something else: its lease ends the grant.
    guard contender.phase == .acquiring || contender.phase == .waiting, contender.acquire == id,
      now < contender.deadline
    else { return }
    for record in records { try checkBelief(position, record) }
    trace.record(.note("\(contender.name) holds \(records.count) scopes under \(records[0].number)"), at: now)
    contenders[position].phase = .holding
    contenders[position].acquire = nil
    contenders[position].grants = records
    contenders[position].endsAt = now + contenderChance.next(in: (ttl / 2)..<(4 * ttl))
  }

  // MARK: Rules

  /// Nobody else takes itself for a holder of the scope, but for those who share it.
  private func checkBelief(_ position: Int, _ record: GrantRecord) throws(Broken) {
    for other in contenders where other.position != position {
      guard let theirs = other.holds(record.scope), !(theirs.isShared && record.isShared) else { continue }
      let both = min(other.deadline, contenders[position].deadline)
      guard both > now + leapAllowance(ttlMicroseconds: ttl) else { continue }
      throw Broken(
        "a lease never ends before its holder's own deadline",
        "\(contenders[position].name) and \(other.name) hold one scope for another \(both - now) us")
    }
  }

  mutating func checkContenderExpiry(of lease: LeaseID) throws(Broken) {
    guard let contender = contenders.first(where: { $0.lease == lease }) else { return }
    let isAlive = contender.phase != .idle && contender.phase != .opening
    guard !isAlive || contender.deadline <= now + leapAllowance(ttlMicroseconds: ttl) else {
      throw Broken(
        "a lease never ends before its holder's own deadline",
        "the lease of \(contender.name) ended \(contender.deadline - now) us early")
    }
  }

  /// A scope that is open again was closed for as long as its lock-delay, also in real time: less what clocks may differ by
  /// and what those that jumped have skipped. A jump counts once its node has looked at its clock.
  mutating func checkOpenings() throws(Broken) {
    for opening in checker.state.authority.takeOpenings() {
      reach(.scopeReopened)
      let delay = UInt64(opening.lockDelayMilliseconds) * 1000
      var least = delay * 1000 / (1000 + world.driftPerMille)
      for leap in leaps where leap.at + Self.leapNoticedMicroseconds > opening.closedSince {
        least -= min(leap.microseconds, least)
      }
      least -= min(5000, least)
      guard now >= opening.closedSince + least else {
        throw Broken(
          "a closed scope is granted to nobody before its time",
          "scope \(opening.scope) was closed for \(now - opening.closedSince) us, its delay is \(delay) us")
      }
    }
  }

  /// The longest for which a node stands still.
  private static let leapNoticedMicroseconds: UInt64 = 2_100_000

  /// What the first node to apply an entry has seen of the situations that a run must have met.
  mutating func noteContention(_ operation: Operation, _ command: Command, _ result: Applied) {
    var shares = 0
    for notice in result.notices {
      if case .grantedAll = notice { reach(.waiterGrantedTogether) }
      if case .granted(_, let record) = notice, record.isShared { shares += 1 }
    }
    if shares > 1 { reach(.sharersHandedOn) }
    switch (command, result.outcome) {
    case (.acquire, .grantedAll): reach(.grantedTogether)
    case (.acquire, .granted(let record)) where record.isShared:
      if record.number < checker.state.revision { reach(.shareJoined) }
    case (.acquire, .refused(.closed)): reach(.refusedWhileClosed)
    case (.closeSession, .leaseEnded): if !result.touched.isEmpty { reach(.sessionClosedHolding) }
    case (.giveBack, .refused(.held)): reach(.keptThoughTimedOut)
    case (.reopen, .reopened(true)): if !result.notices.isEmpty { reach(.waiterGrantedAtReopening) }
    case (.proclaim, .proclaimed): reach(.proclaimed)
    case (.put, .put) where operation.fence != nil: reach(.guardedWriteApplied)
    case (.gateway(.retire), .gatewayChanged(true)): reach(.gatewayRetired)
    case (.gateway(.confirm), .gatewayChanged(false)): reach(.olderConfirmationIgnored)
    default: break
    }
  }
}

extension Command {
  /// Ends a grant, by its current number.
  static func release(_ record: GrantRecord) -> Command {
    .release(scope: record.scope, number: record.number, lease: record.isShared ? record.lease : 0)
  }
}
