// Owns what sessions, leases, scopes and queues must be after each entry, by a model that only sees requests and outcomes.
// Must never: ask the state what is right. What the state has in the end is compared with it, and that is all.
// Invariants: a scope has one holder, or sharers with one number; numbers rise for ever; scopes asked for together are
// granted together or not at all; nobody who came later passes by; a closed scope is granted to nobody.
//
// It keeps one list of all who wait, in the order in which they came, and looks through all of it each time. That is slow
// and hard to get wrong.

import CoordinationCore
import RaftCore

struct AuthorityModel {
  struct Place {
    var ticket: Ticket
    var request: AcquireRequest
    var scopes: [Int]
  }

  struct Scope {
    /// One that is not shared, or any number that are.
    var holds: [GrantRecord] = []
    var lastNumber: Revision = 0
    var lockDelayMilliseconds: Int64 = 0
    /// On the cluster clock; 0 while it is open.
    var closedUntil: UInt64 = 0
    /// In real time, the earliest instant at which the loss of the holder can have been put into the log.
    var closedSince: UInt64 = 0
    var value: Bytes = []

    /// Of what a lease has or waits for: the newest entry by which it asked again.
    var asked: [LeaseID: Ticket] = [:]

    func hold(of lease: LeaseID) -> GrantRecord? { holds.first { $0.lease == lease } }

    func isFree(for request: AcquireRequest) -> Bool {
      holds.isEmpty || (holds.allSatisfy(\.isShared) && request.wantsShare && hold(of: request.lease) == nil)
    }
  }

  /// A scope that was closed and is open again: the clocks of the world say whether that was too early.
  struct Opening {
    var scope: Int
    var closedSince: UInt64
    var lockDelayMilliseconds: Int64
  }

  static let maxScopes = 16

  var scopes = Array(repeating: Scope(), count: Self.maxScopes)
  /// By arrival, of all scopes.
  var queue: [Place] = []
  /// Leases that live, with the holder of those that are sessions. Looked up, never walked.
  private(set) var holders: [LeaseID: String] = [:]
  private(set) var openings: [Opening] = []

  /// Scopes of single holders come first, those of contenders behind them.
  static func position(of scope: Key) -> Int {
    let number = Int(scope.bytes.last ?? 0) - 0x30
    return scope.bytes.first == Contention.scopePrefix ? maxScopes / 2 + number : number
  }

  /// What is judged at once.
  struct Case {
    let entry: Entry
    let operation: Operation
    let command: Command
    let result: Applied
    /// Which the entry takes, if it takes one.
    let revision: Revision
    var clock: UInt64 { entry.clockMilliseconds }
  }

  /// Whether the entry takes a revision.
  mutating func judge(_ judged: Case) throws(Broken) -> Bool {
    if judged.operation.fence != nil, try !isUnderFence(judged) { return false }
    var takesRevision = false
    var dismissed: [Ticket] = []
    switch (judged.command, judged.result.outcome) {
    case (.put, .put): takesRevision = true
    case (.leaseGrant(let id, _), .leaseGranted): holders[id] = ""
    case (.openSession(let id, let holder, _), .leaseGranted): holders[id] = holder
    case (.leaseRenew(let id), .leaseRenewed):
      guard holders[id] != nil else { throw wrong(judged, "lease \(id) is renewed after its end") }
    case (.leaseRevoke(let id), .leaseEnded), (.closeSession(let id), .leaseEnded):
      dismissed = try end(id, judged)
    case (.leaseExpire(let candidate), .leaseEnded): dismissed = try end(candidate.lease, judged)
    case (.acquire(let request), _): takesRevision = try acquired(request, judged)
    case (.release(let scope, let number, let lease), _): try released(scope, number, lease, judged)
    case (.giveBack(let scope, let number, let lease, let since), _):
      try givenBack(scope, number, lease, since, judged)
    case (.cancelWait(let scope, let ticket), .waitEnded):
      queue.removeAll { $0.ticket == ticket && $0.scopes.contains(Self.position(of: scope)) }
    case (.proclaim(let scope, let number, let value), _): try proclaimed(scope, number, value, judged)
    case (.reopen(let scope, let until), .reopened(let isOpened)): try reopened(scope, until, isOpened, judged)
    // Who protects what is judged by the checker of the barrier.
    case (.leaseExpire, _), (.gateway, _): break
    default: throw wrong(judged, "\(judged.operation.work) ended with \(judged.result.outcome)")
    }
    if try handOn(judged, dismissed: dismissed) { takesRevision = true }
    forgetAsked()
    return takesRevision
  }

  /// What a lease asked for is remembered as long as it has or awaits it.
  private mutating func forgetAsked() {
    for position in scopes.indices where !scopes[position].asked.isEmpty {
      let known = scopes[position]
      scopes[position].asked = known.asked.filter { lease, _ in
        known.hold(of: lease) != nil || queue.contains { $0.request.lease == lease && $0.scopes.contains(position) }
      }
    }
  }

  mutating func takeOpenings() -> [Opening] {
    defer { openings = [] }
    return openings
  }

  func contendedNumbers(_ count: Int) -> [Revision] {
    (0..<count).map { scopes[Self.maxScopes / 2 + $0].lastNumber }
  }

  // MARK: Ends

  /// - Returns: the tickets of those that wait no longer.
  private mutating func end(_ lease: LeaseID, _ judged: Case) throws(Broken) -> [Ticket] {
    guard holders.removeValue(forKey: lease) != nil else { throw wrong(judged, "lease \(lease) ends twice") }
    let isLost = if case .closeSession = judged.command { false } else { true }
    for position in scopes.indices where scopes[position].hold(of: lease) != nil {
      scopes[position].holds.removeAll { $0.lease == lease }
      let delay = scopes[position].lockDelayMilliseconds
      guard isLost, delay > 0, scopes[position].holds.isEmpty else { continue }
      scopes[position].closedUntil = judged.clock + UInt64(delay)
      scopes[position].closedSince = judged.operation.invokedAt
    }
    let dismissed = queue.filter { $0.request.lease == lease }.map(\.ticket)
    queue.removeAll { $0.request.lease == lease }
    return dismissed
  }

  private mutating func released(
    _ scope: Key, _ number: Revision, _ lease: LeaseID, _ judged: Case
  ) throws(Broken) {
    let position = Self.position(of: scope)
    let hold = scopes[position].holds.first {
      $0.number == number && (lease == 0 ? !$0.isShared : $0.lease == lease)
    }
    switch judged.result.outcome {
    case .released(let record):
      guard record == hold else { throw wrong(judged, "released what was not held") }
      scopes[position].holds.removeAll { $0 == record }
    case .refused(.notHolder(_, let last)):
      guard hold == nil, last == scopes[position].lastNumber else { throw wrong(judged, "a holder may not release") }
    default: throw wrong(judged, "a release ended with \(judged.result.outcome)")
    }
  }

  /// Whoever asked again since may have been told by another node, and keeps what it has.
  private mutating func givenBack(
    _ scope: Key, _ number: Revision, _ lease: LeaseID, _ since: Ticket, _ judged: Case
  ) throws(Broken) {
    let known = scopes[Self.position(of: scope)]
    guard let hold = known.hold(of: lease), known.asked[lease] ?? 0 > since else {
      return try released(scope, number, lease, judged)
    }
    guard case .refused(.held(let record)) = judged.result.outcome, record == hold else {
      throw wrong(judged, "what was asked for again is given back")
    }
  }

  private mutating func reopened(
    _ scope: Key, _ until: UInt64, _ isOpened: Bool, _ judged: Case
  ) throws(Broken) {
    let position = Self.position(of: scope)
    let known = scopes[position]
    if isOpened && known.closedUntil > judged.clock { throw early(position, judged) }
    let isDue = known.closedUntil != 0 && known.closedUntil == until && until <= judged.clock
    guard isOpened == isDue else { throw wrong(judged, "scope \(position) is \(isOpened ? "" : "not ")opened") }
    guard isOpened else { return }
    scopes[position].closedUntil = 0
    openings.append(
      Opening(
        scope: position, closedSince: known.closedSince, lockDelayMilliseconds: known.lockDelayMilliseconds))
  }

  // MARK: Under a grant

  /// Whether the command was carried out.
  private func isUnderFence(_ judged: Case) throws(Broken) -> Bool {
    guard let fence = judged.operation.fence else { return true }
    let known = scopes[Self.position(of: fence.scope)]
    let isCurrent = known.holds.contains { !$0.isShared && $0.number == fence.number }
    switch judged.result.outcome {
    case .refused(.notHolder(let current, let last)):
      guard !isCurrent, last == known.lastNumber, current?.number == known.holds.first?.number else {
        throw wrong(
          judged, "a guarded write under \(fence.number) is refused, and \(last) is said to be the last number")
      }
      return false
    default:
      guard isCurrent else {
        throw Broken(
          "a guarded write is applied only while its grant is current",
          "\(judged.entry.index) writes under \(fence.number), the scope is at \(known.lastNumber)")
      }
      return true
    }
  }

  private mutating func proclaimed(
    _ scope: Key, _ number: Revision, _ value: Bytes, _ judged: Case
  ) throws(Broken) {
    let position = Self.position(of: scope)
    let hold = scopes[position].holds.first { !$0.isShared && $0.number == number }
    switch judged.result.outcome {
    case .proclaimed(let record):
      guard record == hold else { throw wrong(judged, "somebody proclaims who does not hold the scope") }
      scopes[position].value = value
    case .refused(.notHolder):
      guard hold == nil else { throw wrong(judged, "a holder may not proclaim") }
    default: throw wrong(judged, "a proclamation ended with \(judged.result.outcome)")
    }
  }

  // MARK: Words

  func wrong(_ judged: Case, _ what: String) -> Broken {
    Broken("authority is that of the model", "\(judged.entry.index): \(what)")
  }

  func early(_ position: Int, _ judged: Case) -> Broken {
    Broken(
      "a closed scope is granted to nobody before its time",
      "\(judged.entry.index) at \(judged.clock) opens scope \(position), closed until \(scopes[position].closedUntil)")
  }
}

extension AcquireRequest {
  var wantsShare: Bool { terms?.isShared ?? false }

  /// The scopes that are asked for, each once, in the order in which they are named.
  var positions: [Int] {
    var all: [Int] = []
    for key in [scope] + (terms?.more ?? []) {
      let position = AuthorityModel.position(of: key)
      if !all.contains(position) { all.append(position) }
    }
    return all
  }
}
