// Applying: what is committed becomes state, and whoever waits for it here is answered.

import CoordinationCore
import LogStorage
import RaftCore

extension CoreLoop {
  func applyCommitted() {
    guard applied < committed else { return }
    let last = min(committed, applied.advanced(by: parts.configuration.limits.maxEntriesPerApply))
    if let cached = raft.cachedEntries(after: applied, through: last) {
      apply(cached)
    } else {
      do {
        // Only what memory no longer has: the disk may not have newer entries yet, or still have replaced ones.
        let onDisk = min(last, raft.firstCachedIndex.previous)
        let read = try parts.storage.entries(after: applied, through: onDisk, maxBytes: 8 << 20)
        apply(read[...])
      } catch {
        end(.storage("the log could not be read: \(error)"))
      }
    }
    appliedSincePublication = true
  }

  /// Whether the next turn has as much to apply as it may and more.
  var isFarBehind: Bool { committed > applied.advanced(by: parts.configuration.limits.maxEntriesPerApply) }

  private func apply(_ entries: ArraySlice<Entry>) {
    for entry in entries {
      precondition(entry.index == applied.next, "entries are applied in order and once")
      applied = entry.index
      if entry.term > lastAppliedTerm {
        // Whoever waits for what an earlier leader lost need not wait until the time is over, and may try again.
        for completion in pending.removeLost(before: entry.term) {
          replies.add(completion, .refused(.leadershipLost))
        }
      }
      lastAppliedTerm = entry.term
      lastAppliedClockMilliseconds = entry.clockMilliseconds
      policy.applied(bytes: entry.sizeBytes)
      switch entry.kind {
      case .command: apply(entry)
      case .membership: apply(membershipEntry: entry)
      case .noOp: break
      }
    }
    inputs.append(.applied(through: applied))
  }

  private func apply(_ entry: Entry) {
    let envelope: Envelope
    do {
      envelope = try Envelope.decode(entry.payload)
    } catch {
      return end(
        .storage("the command at \(entry.index) cannot be read: \(error); this log needs a newer version or repair"))
    }
    let result = state.apply(envelope, index: entry.index.rawValue, clockMilliseconds: entry.clockMilliseconds)
    switch envelope.command {
    case .leaseExpire(let candidate): housekeeping.settled(candidate.lease)
    case .registerNode, .forgetNode, .retireKeys: noteNodes()
    default: break
    }
    for notice in result.notices { settle(notice) }
    if !result.touched.isEmpty { touchedScopes += result.touched }
    note(envelope.command, touched: result.touched)
    // Whichever node gave the place up: a caller who asked again may share it on another one.
    if case .cancelWait(_, let ticket) = envelope.command, case .waitEnded(let holder) = result.outcome {
      settleCancelled(ticket, holder: holder)
    }
    guard envelope.origin == localID.rawValue else { return }
    let end = pending.end(of: envelope.request)
    guard let completion = pending.remove(envelope.request) else { return }
    if case .queued(let ticket) = result.outcome, case .acquire(let request) = envelope.command {
      let wait = Wait(
        request: envelope.request, scope: request.scope, holder: request.holder, lease: request.lease,
        terms: request.terms, since: entry.index.rawValue, completion: completion)
      waits.add(ticket, wait)
      // The caller's time was over, or it was gone, before it was known that it would have to wait.
      if let end { cancelWait(envelope.request, end) }
    } else if case .acquire(let request) = envelope.command {
      tell(
        completion, result.outcome, terms: request.terms, since: entry.index.rawValue, isNew: !result.touched.isEmpty,
        timeline: commits.timeline(of: entry.index))
    } else {
      answer(completion, result.outcome, timeline: commits.timeline(of: entry.index))
    }
  }

  /// - Parameter timeline: where the caller waited for nothing but the commit of its command.
  func answer(_ completion: Completion, _ outcome: Outcome, timeline: Int? = nil) {
    answered.append(
      Answered(completion: completion, outcome: outcome, revision: state.revision, timeline: timeline))
  }

  /// Whether gateways have something to do, or did it.
  private func note(_ command: Command, touched: [Key]) {
    if case .gateway = command { hasGatewayNews = true }
    guard !hasGatewayNews, state.gateways.count > 0 else { return }
    hasGatewayNews = touched.contains { state.gateways.protects($0) }
  }
}

// MARK: - Waiters

extension CoreLoop {
  private func settle(_ notice: Notice) {
    switch notice {
    case .granted(let ticket, let record): settle(ticket, [record])
    case .grantedAll(let ticket, let records): settle(ticket, records)
    case .dismissed(let ticket):
      for wait in waits.remove(ticket) {
        answer(wait.completion, .waitEnded(holder: state.scopes[wait.scope]?.foremost))
      }
    case .confirmed(let scope, _): settleBarriers(of: scope)
    }
  }

  private func settle(_ ticket: Ticket, _ records: [GrantRecord]) {
    for wait in waits.remove(ticket) {
      if wait.isAbandoned {
        // Nobody is left to hold it: a caller that went away must not end up as the holder.
        for record in records { propose(.giveBack(record, since: wait.since)) }
      } else {
        let outcome: Outcome = wait.terms?.more.isEmpty ?? true ? .granted(records[0]) : .grantedAll(records)
        tell(wait.completion, outcome, terms: wait.terms, since: wait.since, isNew: true)
      }
    }
  }

  private func settleCancelled(_ ticket: Ticket, holder: GrantRecord?) {
    for wait in waits.remove(ticket) where !wait.isAbandoned {
      answer(wait.completion, .waitEnded(holder: holder))
    }
  }

  func cancelWait(_ request: UInt64, _ end: WaitEnd) {
    pending.noteEnd(of: request, end)
    switch waits.end(request, end) {
    case .place(let ticket, let scope): propose(.cancelWait(scope: scope, ticket: ticket))
    case .caller(let wait) where end == .deadline:
      answer(wait.completion, .waitEnded(holder: state.scopes[wait.scope]?.foremost))
      changedSincePublication = true
    case .caller, nil: break
    }
  }
}

extension Command {
  static func giveBack(_ grant: GrantRecord, since: Ticket) -> Command {
    .giveBack(scope: grant.scope, number: grant.number, lease: grant.lease, since: since)
  }
}
