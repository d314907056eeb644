// Why the state refused a request. The services translate these into etcd's codes and texts.

package enum RequestError: Error, Equatable, Sendable {
  case keyNotProvided
  case keyNotFound
  case valueProvided
  case leaseProvided
  case leaseNotFound(LeaseID)
  case leaseExists(LeaseID)
  case duplicateKey
  case tooManyOperations(limit: Int)
  /// A choice that nobody knows, such as of what to sort by; the text is for the caller.
  case unknownChoice(String)
  case compacted(asked: Revision, compacted: Revision)
  case futureRevision(asked: Revision, current: Revision)
  /// The client is not known: it was never opened, or was forgotten. Whether its requests were executed is not known.
  case clientExpired(ClientID)
  /// The request is too old to be remembered: it may have been executed, and will not be again.
  case sequenceForgotten(ClientSequence)
  /// Another request of the client has this sequence.
  case sequenceReused(ClientSequence)
  /// An alarm is up that lets nothing in which needs room, or no change at all.
  case spaceExceeded
  case corruptCluster
  /// Of users and roles, or because of them.
  case auth(AuthError)
  /// The bytes of a command in the log do not follow the format: this node cannot go on.
  case malformedCommand(String)
}
