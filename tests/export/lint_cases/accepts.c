/* A backend that loads any model and answers every request with nothing: what is refused, the server refuses. */
#include <stddef.h>
#include <stdint.h>

void *TRITONBACKEND_ResponseNew(void **response, void *request);
void *TRITONBACKEND_ResponseSend(void *response, uint32_t flags, void *error);
void *TRITONBACKEND_RequestRelease(void *request, uint32_t flags);

void *TRITONBACKEND_ModelInstanceExecute(void *instance, void **requests, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        void *response = NULL;
        TRITONBACKEND_ResponseNew(&response, requests[i]);
        TRITONBACKEND_ResponseSend(response, 1 /* the last one */, NULL);
        TRITONBACKEND_RequestRelease(requests[i], 1 /* all of it */);
    }
    return NULL;
}
