// Which scenarios can be played with what a run did not start itself, and why the others cannot.

package enum Elsewhere {
  /// Those that need more of a system than holders, a resource and packets between them.
  package static let notForAdapters: [Int: String] = [
    2:
      "how early a fence hears of a grant is the system's own promise: many refuse only after the new holder's first write",
    4: "the contract has no request that takes long",
    5: "the contract has no request that takes long",
    6: "needs a cluster whose leader can be stopped",
    9: "needs a resource that can be cut off from its lock service",
    10: "needs servers whose clocks can be changed",
    11: "needs servers that can be stopped",
    12: "needs a resource that can be killed and started again",
    13: "needs a resource that can be killed and started again",
    14: "needs a resource whose backup can be put back",
    15: "needs a lock service whose backup can be put back",
    16: "the contract has no ids of requests",
    17: "the contract has no ids of requests",
    18: "needs a second server on the same data",
    19: "needs a second server on a copy of the data",
    20: "needs the resource's file",
    21: "what a forged token looks like is the system's own",
    22: "needs a cluster whose leader can be killed",
    25: "needs to see who stands in line, and in which order the service decided",
    26: "the contract has one lock for a request",
    27: "needs a resource whose disk can be broken",
    28: "needs the key with which tokens are signed",
    29: "needs a resource of another version",
    30: "the contract has no watches",
  ]
}
