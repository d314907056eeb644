// Owns the rule that a named request is executed once. A client that got no answer sends its request again under the
// same name (client, sequence), to whichever node; the log may then hold it twice, and here the second is answered with
// the outcome of the first.
//
// Must never: execute a request of which it cannot be told whether it was executed before.

extension Coordination {
  /// Applies a committed envelope: as its command is applied, but at most once where the request has a name.
  /// What its caller may not have done is refused, and not remembered either: once it may, it is executed.
  package mutating func apply(_ envelope: Envelope, index: UInt64, clockMilliseconds: UInt64) -> Applied {
    do {
      try authorize(envelope)
    } catch {
      return Applied(outcome: .failed(error), notices: [], isRepeat: false)
    }
    guard let name = envelope.name else {
      if let stale = staleness(of: envelope) { return stale }
      return apply(envelope.command, index: index, clockMilliseconds: clockMilliseconds)
    }
    guard let client = clients.use(name.client, clock: clockMilliseconds) else {
      return Applied(outcome: .failed(.clientExpired(name.client)), notices: [], isRepeat: false)
    }
    let fingerprint = envelope.command.fingerprint
    if let earlier = client.remembered[name.sequence] {
      guard earlier.fingerprint == fingerprint else {
        return Applied(outcome: .failed(.sequenceReused(name)), notices: [], isRepeat: false)
      }
      return Applied(outcome: recall(earlier.outcome, of: envelope.command), notices: [], isRepeat: true)
    }
    guard name.sequence > client.forgottenThrough else {
      return Applied(outcome: .failed(.sequenceForgotten(name)), notices: [], isRepeat: false)
    }
    // Behind the memory: what was carried out under a grant stays so when the grant is over.
    if let stale = staleness(of: envelope) { return stale }
    let applied = apply(envelope.command, index: index, clockMilliseconds: clockMilliseconds)
    clients.remember(name, RememberedOutcome(fingerprint: fingerprint, outcome: applied.outcome.encoded()))
    return applied
  }

  /// Nil when the command may be carried out.
  private func staleness(of envelope: Envelope) -> Applied? {
    guard let fence = envelope.fence, let refusal = staleness(of: fence) else { return nil }
    return Applied(outcome: .refused(refusal), notices: [], isRepeat: false)
  }

  /// A place in a queue is not yet the answer to an acquire: by now the turn may have come, or the wait have ended.
  private func recall(_ bytes: Bytes, of command: Command) -> Outcome {
    guard let outcome = try? Outcome.decode(bytes) else { preconditionFailure("what was encoded here can be decoded") }
    guard case .queued(let ticket) = outcome, case .acquire(let request) = command else { return outcome }
    let scope = scopes[request.scope]
    if scope?.queue[ticket] != nil { return outcome }
    let holder = request.holder.isEmpty ? leases[request.lease]?.holder : request.holder
    let grants = request.scopes.compactMap { key -> GrantRecord? in
      guard let grant = scopes[key]?.grant(of: request.lease), grant.holder == holder else { return nil }
      return grant.isShared && !request.isShared ? nil : grant
    }
    if grants.count == request.scopes.count { return .granted(grants, of: request) }
    return .waitEnded(holder: scope?.foremost)
  }

  /// As for a lease: a use that is ordered first has raised the generation, and the client lives on.
  mutating func expire(_ candidate: ClientExpiryCandidate, clock: UInt64) -> Outcome {
    guard let client = clients[candidate.client], client.generation == candidate.generation,
      client.deadlineMilliseconds <= clock
    else { return .failed(.clientExpired(candidate.client)) }
    clients.remove(client.id)
    return .clientEnded(client.id)
  }
}

extension Command {
  /// Tells commands apart, by the bytes that the log has of them.
  var fingerprint: UInt64 {
    var out = ByteWriter(capacity: 16 + weight)
    encode(into: &out)
    var hash = StableHash()
    hash.combine(out.bytes)
    return hash.value
  }
}
