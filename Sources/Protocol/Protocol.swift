// Protocol owns the messages that cross the network to clients: the etcd v3 API, gRPC's health service and
// portcullis.v1. Everything under Generated/ is made from Definitions/ by `scripts/generate-protocol` and is never
// edited by hand; nothing here may know how a message travels or what it does.
//
// Invariants: names and tag numbers of etcd's messages are etcd's own, and fields that Portcullis adds to them have tag
// numbers from 1000 on, which leaves etcd room to grow. Fields that a message does not know survive a round trip.
