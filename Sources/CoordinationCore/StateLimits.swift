// Owns the bounds of what the state remembers and of what a snapshot may announce.
// Must never: differ between nodes. Those that decide what `apply` forgets are part of the log's meaning: to change one
// is to change the format of the log.

package enum StateLimits {
  /// Clients whose outcomes are remembered. One more pushes out the one that is nearest its deadline.
  package static var maxClients: Int { 16_384 }
  /// Outcomes remembered for one client, and so how many requests it may have under way at once.
  package static var maxRememberedPerClient: Int { 128 }
  /// Bytes of outcomes remembered for one client. An outcome that does not fit is forgotten at once.
  package static var maxRememberedBytesPerClient: Int { 64 << 10 }
  package static var minClientTTLMilliseconds: Int64 { 1000 }
  package static var maxClientTTLMilliseconds: Int64 { 7 * 24 * 3600 * 1000 }
  /// Records kept of nodes that were removed, for the tokens that they signed: the oldest beyond these go.
  package static var maxRemovedNodeRecords: Int { 64 }
  /// Alarms that may be up at once.
  package static var maxAlarms: Int { 64 }
  package static var maxGateways: Int { 256 }
  package static var maxScopesPerGateway: Int { 65_536 }
  /// Records kept of gateways that were deregistered; the oldest beyond these go.
  package static var maxRetiredGateways: Int { 64 }
  /// Tokens that users have for their passwords. One more pushes out the one that is nearest its end.
  package static var maxTokens: Int { 65_536 }

  /// What a snapshot may say without being taken for damaged. Revisions stay far from where adding one would overflow.
  static var highestRevision: UInt64 { 1 << 62 }
  static var highestDeadlineMilliseconds: UInt64 { 1 << 62 }
  static var longestBytes: UInt64 { 1 << 30 }
  static var deepestResult: Int { 256 }
}
