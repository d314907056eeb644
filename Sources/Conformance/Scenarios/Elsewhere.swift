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

  /// Those that would stop, kill, cut off or change a server, or reach beyond the one database.
  package static let notForRunning: [Int: String] = [
    4: "needs its own servers: it has to be seen which request a gateway is at work on",
    5: "needs its own servers: it has to be seen which request a gateway is at work on",
    6: "needs its own servers: a leader is stopped",
    9: "needs its own servers: the gateway is cut off from its core",
    10: "needs its own servers: their clocks are changed",
    11: "needs its own servers: they are stopped",
    12: "needs its own servers: the gateway is killed",
    13: "needs its own servers: the gateway is killed",
    14: "needs its own servers: a backup is put back",
    15: "needs its own servers: the core is lost and made anew",
    16: "needs its own servers: the kept answers of other requests are pushed out",
    18: "needs its own servers: a second gateway is started on the file",
    19: "needs its own servers: gateways are started on copies of the file",
    20: "needs its own servers: the file itself is written to",
    22: "needs its own servers: a leader is killed",
    25: "needs its own servers: several databases",
    26: "needs its own servers: a database with scopes of its tables",
    27: "needs its own servers: the gateway's disk is broken",
    28: "needs its own servers: a key of the core's is used, and the floor is raised to the highest number there is",
    29: "needs its own servers: the file's format is changed",
  ]

  /// Those whose packets to the core, or to the gateway, go through a proxy of the run.
  private static let throughProxies: (core: Set<Int>, gateway: Set<Int>) = ([7, 8, 24, 30], [3, 17])

  static func excuse(for number: Int, at system: RunningSystem) -> String? {
    let speaksTLS =
      system.endpoints.contains("https://") && throughProxies.core.contains(number)
      || system.gateway.hasPrefix("https://") && throughProxies.gateway.contains(number)
    return notForRunning[number]
      ?? (speaksTLS ? "needs a proxy of the run's own in between, at whose address a certificate is not valid" : nil)
  }
}
