// Sessions: leases with a holder. What lives on a session ends with it, as with any lease; what makes it one is that the
// grants on it need no holder named, and that its client can end it without lock-delay.

extension Coordination {
  /// Opens a session. Asking again by the same holder gets the session that there is, so a request may be repeated.
  mutating func openSession(
    _ id: LeaseID, holder: String, ttlMilliseconds: Int64, clock: UInt64
  ) throws(RequestError) -> Outcome {
    if let known = leases[id], !holder.isEmpty, known.holder == holder {
      return .leaseGranted(id, ttlMilliseconds: known.ttlMilliseconds)
    }
    try leases.grant(id, holder: holder, ttlMilliseconds: ttlMilliseconds, clock: clock)
    return .leaseGranted(id, ttlMilliseconds: ttlMilliseconds)
  }

  /// Its holder says that it is done: what it held is free at once.
  mutating func closeSession(_ id: LeaseID, notices: inout [Notice]) throws(RequestError) -> Outcome {
    guard leases[id] != nil else { throw .leaseNotFound(id) }
    end(id, lostAt: nil, notices: &notices)
    return .leaseEnded(id)
  }
}
